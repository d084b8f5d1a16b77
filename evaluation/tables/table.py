"""A table of results as the paper prints them: parts with columns of their own, as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Value = float | int | str | None
NOTHING = "–"


@dataclass(frozen=True)
class TableRow:
    """A row, and whose it is.

    Attributes:
        group: what several rows share, such as "En".
        name: of the model or of the control.
        values: one a column, None where there is none.
        kind: the paper's, ours, or a control of the row of ours above it.
    """

    group: str
    name: str
    values: Sequence[Value]
    kind: Literal["paper", "ours", "control"]


@dataclass(frozen=True)
class TablePart:
    """Rows with the same columns.

    Attributes:
        columns: (data set, what), the two lines of the heading.
        rows: in their order.
        digits: after the point, of values that are no whole numbers.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[TableRow]
    digits: int = 1

    def cells(self, row: TableRow) -> list[str]:
        """Return the values of a row as text."""
        return [
            NOTHING if value is None else f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)
            for value in row.values
        ]


@dataclass(frozen=True)
class ResultTable:
    """A whole table.

    Attributes:
        title: above it.
        parts: one below the other.
        mark: what a reader must not overlook, such as "not comparable: ..."; None: nothing.
        notes: below it, one a line.
    """

    title: str
    parts: Sequence[TablePart]
    mark: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def to_markdown(self) -> str:
        """Return title, mark, the parts as tables with the paper's rows in italics and ours in bold, and notes."""
        blocks = [f"**{self.title}**"] + ([f"> **{self.mark}**"] if self.mark else [])
        for part in self.parts:
            sets = [columns[0] for columns in part.columns]
            # a data set is named at its first column
            sets = [name if name != before else "" for before, name in pairwise([None, *sets])]
            head = [f"{name}<br>{what}" if name else what for name, (_, what) in zip(sets, part.columns, strict=True)]
            lines = [["", "", *head], ["---", "---", *["---:"] * len(head)]]
            for before, row in pairwise([None, *part.rows]):
                group = "" if before is not None and before.group == row.group else row.group
                lines.append([group, *(_emphasise(text, row.kind) for text in (row.name, *part.cells(row)))])
            blocks.append("\n".join(f"| {' | '.join(_escape(text) for text in line)} |" for line in lines))
        if self.notes:
            blocks.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(blocks) + "\n"

    def to_csv(self) -> str:
        """Return a line a value: data set, column, group, row, kind (paper, ours, control), value, mark."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["data_set", "column", "group", "row", "kind", "value", "mark"])
        for part in self.parts:
            for row in part.rows:
                for (data_set, column), value in zip(part.columns, row.values, strict=True):
                    if value is not None:
                        mark = (self.mark or "") if row.kind != "paper" else ""
                        writer.writerow([data_set, column, row.group, row.name, row.kind, value, mark])
        return text.getvalue()


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _emphasise(text: str, kind: str) -> str:
    sign = {"paper": "*", "ours": "**"}.get(kind, "")
    return text if text in ("", NOTHING) else f"{sign}{text}{sign}"


__all__ = ["NOTHING", "ResultTable", "TablePart", "TableRow", "Value"]
