"""The classes of a zero-shot classification, with their names in one language."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..files.hashing import hash_text
from ..rows.scripts import check_language
from ..rows.text import is_blank
from .class_file import describe_faults, read_class_rows

PERMUTATIONS = 1000  # tries; of names that do not repeat about one of three passes


@dataclass(frozen=True)
class ClassList:
    """Classes in their order, which decides ties: the lower index wins.

    Attributes:
        ids: of the classes, each once; names of folders with images.
        names: the name and then the synonyms of each class, in one language.
        repeated_names: classes may have the name of another, from which nothing tells them apart.

    Raises:
        ValueError: fewer than two classes, an id twice, a class without a name, or one name for two classes.
    """

    ids: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    repeated_names: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.names):
            raise ValueError(f"There are {len(self.ids)} ids and {len(self.names)} names; give as many.")
        if len(self.ids) < 2:
            raise ValueError(f"There are {len(self.ids)} classes; a classification needs two or more.")
        if len(set(self.ids)) < len(self.ids):
            repeated = next(one for one in self.ids if self.ids.count(one) > 1)
            raise ValueError(f"Two classes have the id {repeated!r}; give each its own.")
        if faults := find_name_faults([f"class {one}" for one in self.ids], self.names, repeated=self.repeated_names):
            raise ValueError(f"{'; '.join(faults[:5])}. Give each class a name of its own.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """SHA-256 in 64 digits of the lines `id<TAB>name<TAB>synonym...`, in UTF-8, each ended by one line feed."""
        rows = zip(self.ids, self.names, strict=True)
        return hash_text("".join("\t".join([class_id, *names]) + "\n" for class_id, names in rows))

    @property
    def sharing_a_name(self) -> int:
        """The number of classes that have a name or synonym of another class."""
        keys = self._name_keys()
        counts = Counter(key for own in keys for key in own)
        return sum(any(counts[key] > 1 for key in own) for own in keys)

    def permuted(self, seed: int) -> "ClassList":
        """Return the same ids with the names of other classes, no class with a name of its own: a control.

        Raises:
            ValueError: so many classes share a name that no permutation is found.
        """
        rng, keys = np.random.default_rng(seed), self._name_keys()
        for _ in range(PERMUTATIONS):
            order = rng.permutation(len(self))
            if all(own.isdisjoint(keys[index]) for own, index in zip(keys, order, strict=True)):
                return replace(self, names=tuple(self.names[index] for index in order))
        raise ValueError(
            f"{self.sharing_a_name} of {len(self)} classes share a name, too many for a control in which each has the "
            "name of another; leave some of them out."
        )

    def select(self, ids: Collection[str]) -> "ClassList":
        """Return the classes with these ids, in the order of this list.

        Raises:
            ValueError: an id is unknown, or fewer than two are left.
        """
        if unknown := sorted(set(ids) - set(self.ids)):
            raise ValueError(f"No class has the id {', '.join(map(repr, unknown[:5]))}.")
        wanted = set(ids)
        kept = [(one, names) for one, names in zip(self.ids, self.names, strict=True) if one in wanted]
        return replace(self, ids=tuple(one for one, _ in kept), names=tuple(names for _, names in kept))

    def _name_keys(self) -> list[set[str]]:
        return [set(map(name_key, names)) for names in self.names]


def read_class_list(path: str | Path, language: str = "zh") -> ClassList:
    r"""Return the classes of a tab-separated file: `class_id<TAB>name_zh[<TAB>name_en[<TAB>synonyms_zh]]`.

    Synonyms are separated by `|`; lines that begin with # are comments. Other languages take a header line, such as
    `class_id<TAB>name_zh<TAB>name_de<TAB>synonyms_de`.

    Args:
        language: of the names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `read_class_rows`; it has no names in the language, a name is blank, or two classes have one name
            or synonym, so that nothing could tell them apart; there are fewer than two classes.
    """
    check_language(language)
    columns, rows = read_class_rows(path)
    path = Path(path)
    column = f"name_{language}"
    if column not in columns:
        raise ValueError(
            f"{path} has no column {column}, only {', '.join(columns)}; add it, and name the columns in a header line."
        )
    names = [row.names(language) for row in rows]
    faults = find_name_faults([f"row {row.number}" for row in rows], names)
    if faults:
        raise ValueError(describe_faults(path, faults, f"give each class a {column} of its own, or leave it out"))
    if len(rows) < 2:
        raise ValueError(f"{path} holds one class; a classification needs two or more.")
    return ClassList(tuple(row.class_id for row in rows), tuple(names))


def name_key(name: str) -> str:
    """Return what is equal for two names that a model may not tell apart: NFKC, in small letters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def find_name_faults(places: Sequence[str], names: Sequence[Sequence[str]], *, repeated: bool = False) -> list[str]:
    """Return a sentence for each class without a name and for each name or synonym that two classes have.

    Args:
        places: how a message calls each class, such as "row 3".
        names: of each class.
        repeated: names that two classes have are no fault.
    """
    faults, first = [], dict[str, int]()
    for index, (place, own) in enumerate(zip(places, names, strict=True)):
        if not own or any(is_blank(name) for name in own):
            faults.append(f"{place}: the name is blank")
            continue
        for name in own:
            other = first.setdefault(name_key(name), index)
            if other != index and not repeated:
                faults.append(f"{places[other]} and {place} have one name, {name!r}")
    return faults


__all__ = ["ClassList", "find_name_faults", "name_key", "read_class_list"]
