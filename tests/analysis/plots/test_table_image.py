"""Images of tables of results."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw
from wenlan.analysis.plots.table_image import INK, LETTERS, MARK, TINT, _Layout, _write, draw_table
from wenlan.evaluation.tables.table import ResultTable, TablePart, TableRow

UNIT = {"letters": LETTERS, "row": 27, "gap": 22}


@pytest.fixture
def table():
    rows = [TableRow("En", "UC2", [87.2, 74.9], "paper"), TableRow("En", "wenlan", [91.0, None], "ours")]
    rows.append(TableRow("En", "chance", [5.3, None], "control"))
    return ResultTable("Table", [TablePart([("Multi30K", "en"), ("Multi30K", "de")], rows)], "not comparable", ["n"])


def count(image, colour):
    return int((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1).sum())


def test_rows_of_the_paper_are_grey_and_ours_dark_on_colour(table):
    image = draw_table(table)
    for kind in ("ours", "control"):
        assert count(image, TINT[kind]) > 2000
    assert all(count(image, INK[kind]) > 20 for kind in ("paper", "ours", "control"))
    theirs = replace(table, parts=[replace(table.parts[0], rows=table.parts[0].rows[:1])])
    assert count(draw_table(theirs), TINT["ours"]) == 0


def test_mark_is_drawn_where_there_is_one(table):
    assert count(draw_table(table), MARK) > 300
    assert count(draw_table(replace(table, mark=None)), MARK) == 0


def test_columns_are_wide_enough_for_their_texts_and_for_the_name_of_their_set(table):
    wide = replace(table.parts[0], columns=[("A test set with a long name", "en"), ("B", "a long heading")])
    layout = _Layout(wide, UNIT)
    widths = [right - left for left, right in zip(layout.lefts, layout.rights, strict=True)]
    assert widths[0] > 200
    assert widths[1] > 110
    assert layout.width > _Layout(table.parts[0], UNIT).width


def test_long_notes_are_broken_into_lines(table):
    short, long = draw_table(table), draw_table(replace(table, notes=["word " * 60]))
    assert long.width == short.width
    assert long.height > short.height + 3 * UNIT["row"]


def test_scale_makes_letters_larger(table):
    small, large = draw_table(table), draw_table(table, scale=2)
    assert large.width > 1.7 * small.width


def test_kinds_of_questions_may_be_japanese(table):
    rows = [TableRow("", "何匹", [1.0, 2.0], "ours")]
    assert draw_table(replace(table, parts=[replace(table.parts[0], rows=rows)])).height > 0


def test_texts_in_different_fonts_stand_on_one_baseline():
    canvas = Image.new("L", (60, 60))
    for left, text in ((0, "EH"), (30, "EH。")):
        _write(ImageDraw.Draw(canvas), (left, 0), text, "#ffffff", LETTERS)
    latin, eastern = ((np.asarray(canvas)[:, start : start + 20] > 128).any(axis=1).nonzero()[0] for start in (0, 30))
    assert latin.max() == eastern.max()


def test_letters_that_no_font_has_are_named(table):
    with pytest.raises(ValueError, match="lacks \U0001f98a"):
        draw_table(replace(table, title="\U0001f98a"))


def test_table_without_rows_is_refused(table):
    with pytest.raises(ValueError, match="no rows"):
        draw_table(replace(table, parts=[replace(table.parts[0], rows=[])]))
