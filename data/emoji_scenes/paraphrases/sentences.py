"""The hand-written sentences and nouns, as typed records.

`sentences.yaml` has ten captions a language and, in English and Japanese, two questions for each template;
`nouns.tsv` names each class of EmojiScenes in other words where there are natural ones.
"""

import csv
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from ...rows.languages import LANGUAGES
from ..vocabulary import CLASS_NAMES

FOLDER = Path(__file__).parent
NUMBER = "#"  # in a noun phrase
COUNTER = re.compile(r"^(?:an? |#[^の]+の)")  # before the noun, in English and Japanese


@dataclass(frozen=True)
class Noun:
    """A class of things in other words.

    Attributes:
        one: of a single thing: "a kitty", "#只猫咪"; "#" stands for the number.
        many: of several: "# kitties", "#只猫咪".
    """

    one: str
    many: str

    @property
    def name(self) -> str:
        """The noun alone, as questions in English and Japanese have it: "kitty"."""
        return COUNTER.sub("", self.one)

    @property
    def plural(self) -> str:
        """The noun of several things without their number: "kitties"."""
        return COUNTER.sub("", self.many).replace(f"{NUMBER} ", "")

    def phrase(self, count: int, numbers: tuple[str, ...]) -> str:
        """Return the noun with its number, of the words for 1, 2 ..."""
        return (self.one if count == 1 else self.many).replace(NUMBER, numbers[count - 1])


@dataclass(frozen=True)
class Sentences:
    """The sentences and words of a language that stand in place of its templates.

    Attributes:
        numbers: words for 1 to 4.
        separator: between two items of a list.
        last: between its last two.
        captions: kind -> sentences, with places as those of `Grammar`.
        nouns: of each class, in the order of `SCENE_CLASSES`.
        questions: key of `TEMPLATES` -> sentences; {one} "a kitty", {x} and {y} "kitty", {many} "kitties".
    """

    numbers: tuple[str, ...]
    separator: str
    last: str
    captions: dict[str, tuple[str, ...]]
    nouns: tuple[Noun, ...]
    questions: dict[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def load_sentences() -> dict[str, Sentences]:
    """Return the sentences of each language."""
    content = yaml.safe_load((FOLDER / "sentences.yaml").read_text("utf-8"))
    with (FOLDER / "nouns.tsv").open(encoding="utf-8", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    found = {}
    for language in LANGUAGES:
        phrases = [rows[name][language].split("/") for name in CLASS_NAMES["en"]]
        fields = content[language]
        for kind in ("captions", "questions"):
            fields[kind] = {key: tuple(some) for key, some in fields.get(kind, {}).items()}
        nouns = tuple(Noun(one[0], one[-1]) for one in phrases)
        found[language] = Sentences(**fields | {"numbers": tuple(fields["numbers"]), "nouns": nouns})
    return found


__all__ = ["Noun", "Sentences", "load_sentences"]
