"""A table of results as an image: the paper's rows grey, ours dark on colour, and whether they can be compared."""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from .fonts import load_font

INK = {"paper": "#8a8a8a", "ours": "#111111", "control": "#7a5c3e"}
TINT = {"paper": "#ffffff", "ours": "#fdebd3", "control": "#fdf6ec"}
QUIET, LINE, MARK, GROUND = "#555555", "#cccccc", "#b3261e", "#ffffff"
LETTERS, MARGIN, GAP = 17, 24, 22  # pixels
ROW = 27
INDENT = 14  # of a control, which belongs to the row above it


class Row(Protocol):
    """A row of a table."""

    group: str
    name: str
    kind: str


class Part(Protocol):
    """Rows with the same columns, each (data set, what)."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]

    def cells(self, row: Row) -> list[str]:
        """Return the values of a row as text."""
        ...


class Table(Protocol):
    """A table, such as the `ResultTable` of `wenlan.evaluation`."""

    title: str
    parts: Sequence[Part]
    mark: str | None
    notes: Sequence[str]


def draw_table(table: Table, *, scale: float = 1.0) -> Image.Image:
    """Return the image of a table.

    Args:
        table: what is drawn.
        scale: of the letters.

    Raises:
        ValueError: no row, or text with characters that no font here has.
    """
    if not any(part.rows for part in table.parts):
        raise ValueError("The table has no rows.")
    unit = {name: round(value * scale) for name, value in {"letters": LETTERS, "row": ROW, "gap": GAP}.items()}
    layouts = [_Layout(part, unit) for part in table.parts if part.rows]
    lines = _break_notes([table.title], max(one.width for one in layouts), unit["letters"])
    width = max(max(one.width for one in layouts), *(_length(line, unit["letters"]) for line in lines))
    notes = _break_notes(table.notes, width, unit["letters"])
    marks = _break_notes([table.mark], width - unit["gap"], unit["letters"]) if table.mark else []
    height = unit["row"] * (len(lines) + len(marks) + len(notes)) + sum(one.height + unit["row"] for one in layouts)
    height += 2 * unit["gap"] * bool(marks)
    canvas = Image.new("RGB", (round(width) + 2 * MARGIN, height + 2 * MARGIN), GROUND)
    draw, top = ImageDraw.Draw(canvas), MARGIN
    for line in lines:
        _write(draw, (MARGIN, top), line, INK["ours"], unit["letters"])
        top += unit["row"]
    if marks:
        top += unit["gap"] // 2
        box = (MARGIN, top, canvas.width - MARGIN, top + unit["row"] * len(marks) + 6)
        draw.rectangle(box, outline=MARK, width=2)
        for line in marks:
            _write(draw, (MARGIN + unit["gap"] // 2, top + 3), line, MARK, unit["letters"])
            top += unit["row"]
        top += unit["gap"]
    for layout in layouts:
        layout.draw(draw, top)
        top += layout.height + unit["row"]
    for line in notes:
        _write(draw, (MARGIN, top), line, QUIET, unit["letters"])
        top += unit["row"]
    return canvas


class _Layout:
    """Where the texts of a part stand."""

    def __init__(self, part: Part, unit: dict[str, int]) -> None:
        self.part, self.unit = part, unit
        self.texts = [part.cells(row) for row in part.rows]
        letters, gap = unit["letters"], unit["gap"]
        groups = max(_length(row.group, letters) for row in part.rows)
        names = max(_length(row.name, letters) + INDENT * (row.kind == "control") for row in part.rows)
        columns = [
            max(_length(text, letters) for text in (what, *(line[at] for line in self.texts))) + gap
            for at, (_, what) in enumerate(part.columns)
        ]
        # a data set's name may be wider than its columns together
        place = 0
        for data_set, members in groupby(part.columns, key=lambda column: column[0]):
            count = len(list(members))
            lack = _length(data_set, letters) + gap - sum(columns[place : place + count])
            for at in range(place, place + count):
                columns[at] += max(lack, 0) / count
            place += count
        self.names = groups + gap * (groups > 0)
        first = self.names + names
        self.rights = [first + sum(columns[: at + 1]) for at in range(len(columns))]
        self.lefts = [first, *self.rights[:-1]]
        self.width = self.rights[-1]
        self.height = unit["row"] * (len(part.rows) + 2)

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        letters, row_height, gap = self.unit["letters"], self.unit["row"], self.unit["gap"]
        end, place = MARGIN + self.width, 0
        for data_set, members in groupby(self.part.columns, key=lambda column: column[0]):
            count = len(list(members))
            left, right = self.lefts[place] + gap / 2, self.rights[place + count - 1]
            middle = MARGIN + (left + right - _length(data_set, letters)) / 2
            _write(draw, (middle, top), data_set, INK["ours"], letters)
            draw.line((MARGIN + left, top + row_height, MARGIN + right, top + row_height), fill=LINE)
            place += count
        top += row_height
        for (_, what), right in zip(self.part.columns, self.rights, strict=True):
            _write(draw, (MARGIN + right - _length(what, letters), top), what, QUIET, letters)
        top += row_height
        before = None
        for row, texts in zip(self.part.rows, self.texts, strict=True):
            draw.rectangle((MARGIN - 6, top, end + 6, top + row_height - 1), fill=TINT[row.kind])
            if row.group != before:
                draw.line((MARGIN - 6, top, end + 6, top), fill=LINE)
                _write(draw, (MARGIN, top), row.group, INK["ours"], letters)
                before = row.group
            indent = INDENT * (row.kind == "control")
            _write(draw, (MARGIN + self.names + indent, top), row.name, INK[row.kind], letters)
            for text, right in zip(texts, self.rights, strict=True):
                _write(draw, (MARGIN + right - _length(text, letters), top), text, INK[row.kind], letters)
            top += row_height


def _letters(text: str, size: int) -> ImageFont.FreeTypeFont:
    return load_font(size, "en", text=text)


def _length(text: str, size: int) -> float:
    return _letters(text, size).getlength(text)


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str, size: int) -> None:
    baseline = place[1] + 2 + _letters("", size).getmetrics()[0]  # one for all fonts
    draw.text((place[0], baseline), text, font=_letters(text, size), fill=colour, anchor="ls")


def _break_notes(notes: Sequence[str], width: float, size: int) -> list[str]:
    """Return lines of notes that are no wider, broken at spaces."""
    lines = []
    for note in notes:
        line = ""
        for word in note.split(" "):
            longer = f"{line} {word}" if line else word
            if line and _length(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


__all__ = ["Part", "Row", "Table", "draw_table"]
