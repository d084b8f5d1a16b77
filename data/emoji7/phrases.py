"""Phrases as people type them to find an image, parallel in seven languages, with the concepts that answer each.

`phrases.json` is a list of objects. `texts` has one phrase a language. `right` is a list of clauses and `except`, which
is optional, a list of English names. A clause has one or more of `any`, `all` (English names or keywords: a concept has
to have one of them, or each) and `within` (groups or subgroups: it has to be in one of them). A concept is right if it
satisfies a clause and `except` does not name it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.json_files import read_json
from ..rows.languages import LANGUAGES
from .dataset import FOLDER

FILE = FOLDER / "phrases.json"
CLAUSE = {"any", "all", "within"}
COLUMNS = ["name_en", "keywords_en", "group", "subgroup"]


@dataclass(frozen=True)
class Phrase:
    """A phrase by language, and the `concept_id`s of emoji7 that are right, seen and held ones."""

    texts: Mapping[str, str]
    right: frozenset[int]


def load_phrases(path: Path = FILE) -> list[Phrase]:
    """Return the phrases, each with its right concepts of all 1356.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not of the form above, a rule holds a word that is no name, keyword, group or subgroup of
            emoji7, or no concept is right.
    """
    import pyarrow.parquet as pq

    concepts = pq.read_table(FOLDER / "concepts.parquet", columns=COLUMNS).to_pylist()
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is no list of phrases.")
    return [_resolve(fields, concepts, f"{path}, phrase {number}") for number, fields in enumerate(content)]


def _resolve(fields: object, concepts: Sequence[Mapping], place: str) -> Phrase:
    if not isinstance(fields, dict) or not {"texts", "right"} <= set(fields) <= {"texts", "right", "except"}:
        raise ValueError(f'{place}: an object with "texts", "right" and perhaps "except" is expected.')
    texts, clauses, left_out = fields["texts"], fields["right"], fields.get("except", [])
    if not isinstance(texts, dict) or set(texts) != set(LANGUAGES) or not all(map(_is_text, texts.values())):
        raise ValueError(f'{place}: "texts" must hold one text for each of {", ".join(LANGUAGES)}.')
    if not isinstance(clauses, list) or not clauses or not all(map(_is_clause, clauses)) or not _is_words(left_out):
        raise ValueError(
            f'{place}: "right" must be a list of objects that hold lists of words under {", ".join(sorted(CLAUSE))}, '
            'and "except" a list of names.'
        )
    names = [concept["name_en"] for concept in concepts]
    words = [{concept["name_en"], *concept["keywords_en"]} for concept in concepts]
    groups = [{concept["group"], concept["subgroup"]} for concept in concepts]
    for kind, known in {"any": words, "all": words, "within": groups}.items():
        _refuse_unknown({word for clause in clauses for word in clause.get(kind, ())}, set().union(*known), kind, place)
    _refuse_unknown(set(left_out), set(names), "except", place)
    right = frozenset(
        index
        for index, (name, own, groups_of) in enumerate(zip(names, words, groups, strict=True))
        if name not in left_out and any(_holds(clause, own, groups_of) for clause in clauses)
    )
    if not right:
        raise ValueError(f"{place}: no concept is right.")
    return Phrase(texts, right)


def _holds(clause: Mapping[str, Sequence[str]], words: set[str], groups: set[str]) -> bool:
    return (
        ("any" not in clause or not words.isdisjoint(clause["any"]))
        and words.issuperset(clause.get("all", ()))
        and ("within" not in clause or not groups.isdisjoint(clause["within"]))
    )


def _refuse_unknown(words: set[str], known: set[str], kind: str, place: str) -> None:
    if unknown := sorted(words - known):
        what = {"within": "group or subgroup", "except": "English name"}.get(kind, "English name or keyword")
        raise ValueError(f'{place}: {unknown[0]!r} in "{kind}" is no {what} of emoji7.')


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_clause(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= CLAUSE and all(map(_is_words, value.values()))


__all__ = ["Phrase", "load_phrases"]
