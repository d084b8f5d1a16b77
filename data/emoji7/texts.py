"""Texts of emoji7's concepts in several languages at once, each with the concepts that it is true of."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from ..rows.types import DrawnText
from .dataset import draw_parts, join_parts, read_concepts


@dataclass(eq=False)
class ConceptTexts:
    """Draws several texts of a concept, of as many languages as there are.

    A keyword that several concepts share is true of all of them, and so is a name that is another concept's keyword;
    several parts are true of the concepts that have all of them.

    Attributes:
        languages: of `LANGUAGES`.
        number: texts a draw.
        fixed: texts of a concept and language that there are in all: its name, the keyword that most concepts share,
            and others that are drawn once; 0: any.
        seed: of these.

    Raises:
        ValueError: a language is none of emoji7's.
    """

    languages: Sequence[str]
    _: KW_ONLY
    number: int = 1
    fixed: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        self.concepts_of: dict[tuple[str, str], set[int]] = {}
        self.texts_of: dict[tuple[int, str], list[DrawnText]] = {}
        for language in self.languages:
            rows = read_concepts(language)
            for concept_id, row in rows.items():
                for part in (row[f"name_{language}"], *row[f"keywords_{language}"]):
                    self.concepts_of.setdefault((language, part), set()).add(concept_id)
            for concept_id, row in rows.items() if self.fixed else ():
                rng = random.Random(f"{self.seed}-{concept_id}-{language}")
                self.texts_of[concept_id, language] = [
                    self._text(parts, language) for parts in self._fixed_parts(row, rng, language)
                ]

    def __call__(self, row: Mapping, rng: random.Random) -> list[DrawnText]:
        """Return `number` texts of the row's concept: one in each of some languages, more where these are fewer."""
        languages = list(self.languages) * -(-self.number // len(self.languages))
        return [self._draw(row, rng, language) for language in rng.sample(languages, self.number)]

    @property
    def texts(self) -> list[str]:
        """All texts that can be drawn, if they are `fixed`; sorted."""
        return sorted({text.text for texts in self.texts_of.values() for text in texts})

    def _fixed_parts(self, row: Mapping, rng: random.Random, language: str) -> list[list[str]]:
        name, keywords = row[f"name_{language}"], row[f"keywords_{language}"]
        most_shared = max(keywords, key=lambda keyword: len(self.concepts_of[language, keyword]), default=name)
        drawn = [draw_parts(row, rng, language) for _ in range(2, self.fixed)]
        return [[name], [most_shared], *drawn][: self.fixed]

    def _draw(self, row: Mapping, rng: random.Random, language: str) -> DrawnText:
        if self.fixed:
            return rng.choice(self.texts_of[row["concept_id"], language])
        return self._text(draw_parts(row, rng, language), language)

    def _text(self, parts: Sequence[str], language: str) -> DrawnText:
        true = set.intersection(*(self.concepts_of[language, part] for part in parts))
        return DrawnText(join_parts(parts, language), sorted(true))


__all__ = ["ConceptTexts"]
