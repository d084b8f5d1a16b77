"""Tables as Markdown and CSV."""

import csv

import pytest
from wenlan.evaluation.tables.table import ResultTable, TablePart, TableRow


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
