"""Class files: tab-separated UTF-8 text with a class a row, in the form that users write and the builder fills.

Without a header line the columns are `COLUMNS`; a header, which begins with `class_id`, names others. A *name* column
and a *synonyms* column of one language both may hold several names, separated by `|`. Lines that begin with # are
comments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ..files.bounded import read_bounded_text
from ..rows.languages import LANGUAGES
from ..rows.report import BadRowError
from ..rows.text import check_unicode, is_blank

COLUMNS = ("class_id", "name_zh", "name_en", "synonyms_zh")
KNOWN = ("class_id", *(f"{kind}_{language}" for language in LANGUAGES for kind in ("name", "synonyms")))
SHOWN = 5  # rows that a message names


@dataclass(frozen=True)
class ClassRow:
    """A row of a class file.

    Attributes:
        number: of its line in the file, from 1.
        class_id: name of the folder with the class's images.
        cells: texts of the other columns, stripped; short rows have fewer.
    """

    number: int
    class_id: str
    cells: Mapping[str, str]

    def names(self, language: str) -> tuple[str, ...]:
        """Return the name and then the synonyms in a language, each once; none where the name is blank."""
        parts = [self.cells.get(f"{kind}_{language}", "").split("|") for kind in ("name", "synonyms")]
        names, synonyms = ([" ".join(part.split()) for part in cell if not is_blank(part)] for cell in parts)
        return tuple(dict.fromkeys(names + synonyms)) if names else ()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a user's list, without comments and blank lines.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is a folder or another special file, or the line that comes next is not UTF-8.
    """
    try:
        text = read_bounded_text(path, errors="surrogateescape")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            check_unicode(line)
            if "\0" in line:
                raise BadRowError("invalid UTF-8", "zeros, as of UTF-16")
        except BadRowError as error:
            raise ValueError(f"{path}, row {number}: not UTF-8; save the file as UTF-8.") from error
        if line.strip() and not line.startswith("#"):
            yield number, line


def read_class_rows(path: str | Path) -> tuple[tuple[str, ...], list[ClassRow]]:
    """Return the columns of a class file and its rows, of which no two have one id; names may be blank or repeat.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no text file in UTF-8 or holds no rows, its header has an unknown column or one twice, or
            rows have no id, one of another row, or more cells than there are columns; up to five are named.
    """
    path = Path(path)
    columns: tuple[str, ...] = COLUMNS
    rows: dict[str, ClassRow] = {}
    faults = []
    for index, (number, line) in enumerate(read_lines(path)):
        class_id, *cells = [cell.strip() for cell in line.split("\t")]
        if index == 0 and class_id == COLUMNS[0]:
            columns = _check_header(path, (class_id, *cells))
        elif is_blank(class_id):
            faults.append(f"row {number} has no class_id")
        elif class_id in rows:
            faults.append(f"rows {rows[class_id].number} and {number} have one class_id, {class_id!r}")
        elif len(cells) >= len(columns) and any(cells[len(columns) - 1 :]):
            faults.append(f"row {number} has {len(cells) + 1} cells, more than the columns {', '.join(columns)}")
        else:
            rows[class_id] = ClassRow(number, class_id, dict(zip(columns[1:], cells, strict=False)))
    if faults:
        raise ValueError(describe_faults(path, faults, "give each class one row, cells separated by tabs"))
    if not rows:
        raise ValueError(f"{path} holds no class; write one a row: {'<TAB>'.join(COLUMNS[:2])}.")
    return columns, list(rows.values())


def describe_faults(path: Path, faults: list[str], remedy: str) -> str:
    """Return a message with the first faults of a file, how many more there are, and what to do."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return f"{path}: {'; '.join(faults[:SHOWN])}{more}. Please {remedy}."


def _check_header(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    for column in columns:
        if column not in KNOWN:
            near = get_close_matches(column, KNOWN, n=1)
            meant = f"; do you mean {near[0]}?" if near else f"; columns are {', '.join(KNOWN[:3])} ... {KNOWN[-1]}."
            raise ValueError(f"{path}: the header has an unknown column {column!r}{meant}")
        if columns.count(column) > 1:
            raise ValueError(f"{path}: the header has the column {column} twice; name each once.")
    return columns


__all__ = ["COLUMNS", "ClassRow", "describe_faults", "read_class_rows", "read_lines"]
