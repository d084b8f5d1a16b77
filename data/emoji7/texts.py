"""Texts of emoji7's concepts in several languages at once, each with the concepts that it is true of."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from ..rows.types import DrawnText
from .dataset import draw_parts, join_parts, read_concepts

FURTHER = 10_000  # the first group that is no concept of emoji7


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
        further: by language, the names of further groups, whose numbers begin with `FURTHER`. Names of groups and
            parts of concepts are true of each other's images where they are the same.

    Raises:
        ValueError: a language is none of emoji7's, or none has names of the further groups.
    """

    languages: Sequence[str]
    _: KW_ONLY
    number: int = 1
    fixed: int = 0
    seed: int = 0
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.named = [language for language in self.languages if language in self.further]
        if self.further and not self.named:
            raise ValueError(f"There are names in {', '.join(self.further)} alone, not in {', '.join(self.languages)}.")
        self.concepts_of: dict[tuple[str, str], set[int]] = {}
        for language in self.named:
            for number, name in enumerate(self.further[language]):
                self.concepts_of.setdefault((language, name), set()).add(FURTHER + number)
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

    def draw_further(self, number: int, rng: random.Random) -> list[DrawnText]:
        """Return as many texts of a further group: its names, each in a language that is drawn."""
        return [
            self._text([self.further[language][number]], language)
            for language in rng.choices(self.named, k=self.number)
        ]

    @property
    def texts(self) -> list[str]:
        """All texts that can be drawn of concepts, if they are `fixed`; sorted."""
        return sorted({text.text for texts in self.texts_of.values() for text in texts})

    @property
    def further_texts(self) -> list[str]:
        """All texts that can be drawn of further groups."""
        return [name for language in self.named for name in self.further[language]]

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


__all__ = ["FURTHER", "ConceptTexts"]
