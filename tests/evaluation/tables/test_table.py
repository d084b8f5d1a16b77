"""Tables as Markdown, CSV and images."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor
from wenlan.analysis.plots.fonts import font_files
from wenlan.evaluation.tables.table import COLOURS, MARK, ResultTable, TablePart, TableRow


@pytest.fixture
def table():
    rows = [TableRow("A|B", "theirs", [1.25, None], "paper"), TableRow("A|B", "ours", [7, "x, y"], "ours")]
    return ResultTable(
        "Title", [TablePart([("set", "en"), ("set", "日本")], rows, digits=2)], "not comparable: z", ["n"]
    )


def test_markdown_marks_whose_each_row_is(table):
    assert table.to_markdown() == (
        "**Title**\n\n> **not comparable: z**\n\n"
        "|  |  | set<br>en | 日本 |\n| --- | --- | ---: | ---: |\n"
        "| A\\|B | *theirs* | *1.25* | – |\n|  | **ours** | **7** | **x, y** |\n\n- n\n"
    )


def test_csv_has_a_line_a_value_and_the_mark_beside_ours_alone(table):
    rows = list(csv.DictReader(table.to_csv().splitlines()))
    assert [(row["column"], row["row"], row["value"], row["mark"]) for row in rows] == [
        ("en", "theirs", "1.25", ""),
        ("en", "ours", "7", "not comparable: z"),
        ("日本", "ours", "x, y", "not comparable: z"),
    ]


def test_row_with_too_few_values_is_no_csv():
    table = ResultTable("T", [TablePart([("s", "a"), ("s", "b")], [TableRow("", "x", [1.0], "ours")])])
    with pytest.raises(ValueError, match="shorter"):
        table.to_csv()


def drawn(table):
    """(h, w, 3) pixels of the image of a table."""
    content = io.BytesIO()
    table.draw(font_files()).savefig(content, format="png", dpi=120)
    return np.asarray(Image.open(content).convert("RGB"))


def count(image, colour):
    return int((image == ImageColor.getrgb(colour)).all(axis=-1).sum())


def test_rows_of_the_paper_are_grey_and_ours_dark_on_colour(table):
    control = TableRow("A|B", "chance", [5.3, None], "control")
    image = drawn(replace(table, parts=[replace(table.parts[0], rows=[*table.parts[0].rows, control])]))
    assert all(count(image, COLOURS[kind][1]) > 2000 for kind in ("ours", "control"))
    assert all(count(image, COLOURS[kind][0]) > 20 for kind in ("paper", "ours", "control"))
    theirs = replace(table, parts=[replace(table.parts[0], rows=table.parts[0].rows[:1])])
    assert count(drawn(theirs), COLOURS["ours"][1]) == 0


def test_mark_is_drawn_where_there_is_one(table):
    assert count(drawn(table), MARK) > 100
    assert count(drawn(replace(table, mark=None)), MARK) == 0


def test_long_notes_are_broken_into_lines(table):
    short, long = drawn(table), drawn(replace(table, notes=["word " * 60]))
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 100


def test_columns_are_wide_enough_for_the_name_of_their_set(table):
    wide = replace(table.parts[0], columns=[("A test set with a long name", "en"), ("B", "a long heading")])
    assert drawn(replace(table, parts=[wide])).shape[1] > drawn(table).shape[1] + 200


@pytest.mark.filterwarnings("error")  # matplotlib warns of letters that no font has
@pytest.mark.parametrize("text", ["有几只狗？", "何匹いますか", "몇 마리", "Příliš žluťoučký kůň"])
def test_letters_of_all_languages_are_drawn(table, text):
    rows = [TableRow("", text, [1.0, 2.0], "ours")]
    drawn(replace(table, parts=[replace(table.parts[0], rows=rows)]))


def test_table_without_rows_is_not_drawn(table):
    with pytest.raises(ValueError, match="no rows"):
        replace(table, parts=[replace(table.parts[0], rows=[])]).draw()
