"""A table of results as the paper prints them, in parts with columns of their own: Markdown, CSV and a figure."""

import csv
import io
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = float | int | str | None
Kind = Literal["paper", "ours", "control"]
NOTHING = "–"
LINE, LETTER = 0.24, 0.085  # inches: height of a line, width of a letter
COLOURS: dict[Kind, tuple[str, str]] = {  # letters and ground
    "paper": ("#8a8a8a", "#ffffff"),
    "ours": ("#111111", "#fdebd3"),
    "control": ("#7a5c3e", "#fdf6ec"),
}
MARK = "#b3261e"


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
    kind: Kind


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

    def heading(self, separator: str) -> list[str]:
        """Return the heading of each column; a data set is named at its first column."""
        before = [None, *(data_set for data_set, _ in self.columns)]
        return [
            what if data_set in ("", last) else f"{data_set}{separator}{what}"
            for last, (data_set, what) in zip(before, self.columns, strict=False)
        ]

    def lines(self) -> Iterator[tuple[Kind, list[str]]]:
        """Yield the kind of each row, and its group, where it begins, its name and its values."""
        before = None
        for row in self.rows:
            yield row.kind, ["" if row.group == before else row.group, row.name, *self.cells(row)]
            before = row.group


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
            lines = [["", "", *part.heading("<br>")], ["---", "---", *["---:"] * len(part.columns)]]
            lines += [[group, *(_emphasise(text, kind) for text in texts)] for kind, (group, *texts) in part.lines()]
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

    def draw(self, fonts: Sequence[Path] = ()) -> "Figure":
        """Return a figure of matplotlib: the paper's rows grey, ours on colour, the mark in red.

        Args:
            fonts: files to take letters from, the first that has one; by default the fonts of matplotlib.

        Raises:
            ValueError: the table has no rows.
        """
        from matplotlib.figure import Figure
        from matplotlib.transforms import Bbox

        family = register_fonts(fonts)
        grids: list[list[tuple[Kind, list[str]]]] = [
            [("paper", ["", "", *part.heading("\n")]), *part.lines()] for part in self.parts if part.rows
        ]
        if not grids:
            raise ValueError("The table has no rows.")
        columns_of = [list(zip(*(line for _, line in grid), strict=True)) for grid in grids]
        widths = [[max(map(_width, column)) + 3 for column in columns] for columns in columns_of]
        letters = max(map(sum, widths))
        above = [(line, "black") for line in textwrap.wrap(self.title, letters)]
        above += [(line, MARK) for line in textwrap.wrap(self.mark or "", letters)]
        below = [(line, "#555555") for note in self.notes for line in textwrap.wrap(note, letters)]
        height = len(above) + len(below) + sum(len(grid) + 2 for grid in grids)
        figure, top = Figure(figsize=(letters * LETTER, height * LINE)), 0.0

        def write(texts: list[tuple[str, str]]) -> None:
            nonlocal top
            for text, colour in texts:
                figure.text(0, 1 - top / height, text, color=colour, fontfamily=family, fontsize=10, va="top")
                top += 1

        write(above)
        for grid, columns in zip(grids, widths, strict=True):
            lines = len(grid) + 1  # the heading has two
            axes = figure.add_axes((0, 1 - (top + lines) / height, sum(columns) / letters, lines / height))
            axes.axis("off")
            drawn = axes.table([line for _, line in grid], colWidths=columns, cellLoc="right", bbox=Bbox.unit())
            drawn.auto_set_font_size(False)
            for (row, column), cell in drawn.get_celld().items():
                ink, ground = COLOURS[grid[row][0]]
                cell.set(facecolor=ground, edgecolor="#dddddd", height=(2 if row == 0 else 1) / lines)
                cell.set_text_props(color=ink, fontfamily=family, fontsize=10, ha="right" if column > 1 else "left")
            top += lines + 1
        write(below)
        return figure


def register_fonts(fonts: Sequence[Path]) -> list[str]:
    """Return names under which matplotlib takes letters from files of fonts, or those of its own without any."""
    from matplotlib import font_manager

    # As "normal" fonts under names of their own: matplotlib reads a variable font as its lightest one.
    entries = [font_manager.FontEntry(fname=str(path), name=path.stem, size="scalable") for path in fonts]
    font_manager.fontManager.ttflist += entries
    return [entry.name for entry in entries] or ["sans-serif"]


def _width(text: str) -> int:
    """Return the width of the longest line in Latin letters; those of Chinese, Japanese and Korean are two wide."""
    wide = ("W", "F")
    return max(sum(1 + (unicodedata.east_asian_width(c) in wide) for c in line) for line in text.split("\n"))


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _emphasise(text: str, kind: str) -> str:
    sign = {"paper": "*", "ours": "**"}.get(kind, "")
    return text if text in ("", NOTHING) else f"{sign}{text}{sign}"


__all__ = ["NOTHING", "ResultTable", "TablePart", "TableRow", "Value", "register_fonts"]
