"""The paper's tables 3 and 4 with metrics of ours."""

import re

import pytest
from wenlan.evaluation.tables.paper import (
    NOT_COMPARABLE,
    TABLE_3,
    TABLE_3_COLUMNS,
    TABLE_4,
    TABLE_4_COLUMNS,
    paper_reference,
    retrieval_table,
    vqa_table,
)

# as the specification of MLMM has them: M3P / UC2 / MLMM of en, de, fr, cs (Multi30K), en, zh, ja (MSCOCO)
SPECIFIED = {
    "en": "87.4/87.2/91.9 58.8/74.9/86.7 46.0/74.0/86.9 36.8/67.9/85.6 88.6/88.1/90.6 53.8/82.0/90.3 56.0/71.7/86.6",
    "each": "87.4/87.2/91.9 82.1/83.8/88.1 67.3/77.6/85.3 65.0/74.2/83.8 88.6/88.1/90.6 75.8/84.9/89.0 80.1/87.3/90.9",
    "all": "87.7/88.2/92.0 82.7/84.5/88.7 73.9/83.9/88.2 72.2/81.2/87.4 88.7/88.1/90.8 87.9/89.8/92.4 86.2/87.5/91.2",
}


def recalls(by_language, chance=5.3, blind=None):
    """What `finetune_retrieval` writes."""
    rows = {one: {"mean_recall": value, "chance_mean_recall": chance} for one, value in by_language.items()}
    return {"recalls": rows, "without_regions": {one: {"mean_recall": value} for one, value in (blind or {}).items()}}


def questions(**changes):
    """What `vqa_metrics` gives of a language."""
    row = {"count": 12, "accuracy": 61.25, "oracle_accuracy": 99.0, "majority": 30.7, "question_only": 33.3}
    row |= {"interval": [55.0, 66.04]} | changes
    return row | {"answer_types": {"number": dict(row)}, "question_types": {"how many": dict(row) | {"count": 4}}}


def names(part):
    return [(row.group, row.name, row.kind) for row in part.rows]


def values(part, name, group=""):
    return next(list(row.values) for row in part.rows if row.name == name and row.group == group)


@pytest.mark.parametrize("setting", SPECIFIED)
def test_recalls_of_the_paper_are_the_specified_ones(setting):
    cells = [[float(value) for value in cell.split("/")] for cell in SPECIFIED[setting].split()]
    assert [list(row) for row in TABLE_3[setting].values()] == [list(row) for row in zip(*cells, strict=True)]
    assert list(TABLE_3[setting]) == ["M3P", "UC2", "MLMM"]
    assert TABLE_3_COLUMNS == {"Multi30K": ("en", "de", "fr", "cs"), "MSCOCO": ("en", "zh", "ja")}


def test_accuracies_of_the_paper_are_the_specified_ones():
    assert TABLE_4 == {"UNITER": (71.22, 22.70), "UC2": (71.48, 34.20), "MLMM": (73.21, 35.40)}
    assert TABLE_4_COLUMNS == {"VQA 2.0 test-dev": ("en",), "VQA VG Japanese": ("ja",)}


def test_reference_names_its_source_and_columns():
    reference = paper_reference(3)
    assert reference["source"].endswith("table 3")
    assert len(reference["columns"]) == len(reference["metrics"]["all"]["MLMM"]) == 7
    assert paper_reference(4)["metrics"]["MLMM"] == [73.21, 35.40]


def test_interval_of_a_recall_stands_below_it():
    metrics = recalls({"en": 90.0})
    metrics["recalls"]["en"]["interval"] = [87.04, 92.5]
    _, ours = retrieval_table({"Ours": {"en": metrics}}).parts
    assert names(ours)[:2] == [("En", "wenlan", "ours"), ("En", "95 %", "control")]
    assert values(ours, "95 %", "En") == ["87.0–92.5"]


def test_other_test_set_has_columns_of_its_own_with_controls_below_each_row():
    results = {"Ours": {"en": recalls({"en": 90.0, "ko": 80.0}, blind={"en": 5.5}), "all": recalls({"ko": 85.0})}}
    paper, ours = retrieval_table(results).parts
    assert all(kind == "paper" for *_, kind in names(paper))
    assert list(ours.columns) == [("Ours", "en"), ("Ours", "ko")]
    assert names(ours) == [
        ("En", "wenlan", "ours"),
        ("En", "regions zeroed", "control"),
        ("En", "chance", "control"),
        ("All", "wenlan", "ours"),
        ("All", "chance", "control"),
    ]
    assert values(ours, "wenlan", "En") == [90.0, 80.0]
    assert values(ours, "regions zeroed", "En") == [5.5, None]
    assert values(ours, "wenlan", "All") == [None, 85.0]


def test_two_test_sets_of_the_paper_share_a_row_in_its_columns():
    results = {"MSCOCO": {"each": recalls({"ja": 70.0})}, "Multi30K": {"each": recalls({"de": 60.0, "ko": 50.0})}}
    (part,) = retrieval_table(results).parts
    assert [language for _, language in part.columns] == ["en", "de", "fr", "cs", "ko", "en", "zh", "ja"]
    assert values(part, "wenlan", "Each") == [None, 60.0, None, None, 50.0, None, None, 70.0]
    assert values(part, "MLMM", "Each") == [91.9, 88.1, 85.3, 83.8, None, 90.6, 89.0, 90.9]


def test_languages_of_the_paper_that_we_lack_are_named():
    notes = retrieval_table({"Multi30K": {"en": recalls({"en": 1.0, "fr": 1.0})}}).notes
    assert "Multi30K: no metrics of ours in de, cs." in notes


def test_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="has results of both; give en, each, all"):
        retrieval_table({"Ours": {"both": recalls({"en": 1.0})}})


@pytest.mark.parametrize("make", [retrieval_table, vqa_table])
def test_tables_are_not_comparable_unless_the_user_says_so(make):
    assert make({}).mark == NOT_COMPARABLE
    assert NOT_COMPARABLE.startswith("not comparable: ")
    assert NOT_COMPARABLE in make({}).to_markdown()
    assert make({}, comparable=True).mark is None
    assert "not comparable" not in make({}, comparable=True).to_markdown()


def test_every_kind_of_question_has_a_row_with_its_controls():
    _, english, japanese = vqa_table({"Ours": {"en": questions(), "ja": questions()}}).parts
    assert english.columns[0] == ("Ours, en", "questions")
    assert japanese.columns[0] == ("Ours, ja", "questions")
    assert [name for _, name in english.columns] == [
        "questions",
        "accuracy",
        "95 %",
        "question only",
        "majority",
        "oracle",
    ]
    assert [(row.group, row.name) for row in english.rows] == [
        ("all", "all questions"),
        ("answer type", "number"),
        ("question type", "how many"),
    ]
    assert english.cells(english.rows[-1]) == ["4", "61.2", "55.0–66.0", "33.3", "30.7", "99.0"]


def test_test_set_of_table_4_stands_in_the_column_of_the_paper_too():
    paper, _ = vqa_table({"VQA VG Japanese": {"ja": questions()}}).parts
    assert values(paper, "wenlan") == [None, 61.25]
    assert values(paper, "question only") == [None, 33.3]
    assert values(paper, "majority") == [None, 30.7]
    assert paper.cells(paper.rows[0]) == ["71.22", "22.70"]


def test_accuracy_of_single_answers_has_its_rule_beside():
    table = vqa_table({"Ours": {"ja": questions(accuracy_without_nfkc=60.0)}})
    assert ("Ours, ja", "without NFKC") in table.parts[1].columns
    assert any("NFKC" in note for note in table.notes)


def test_markdown_has_as_many_cells_in_every_line_of_a_part():
    text = retrieval_table({"Ours": {"en": recalls({"en": 90.0}, blind={"en": 5.5})}}).to_markdown()
    counts = [
        [len(re.findall(r"\|", line)) for line in block.split("\n")] for block in text.split("\n\n") if "|" in block
    ]
    assert [set(block) for block in counts] == [{10}, {4}]
    assert "| En | *M3P* | *87.4* |" in text
    assert "| En | **wenlan** | **90.0** |\n|  | regions zeroed | 5.5 |\n|  | chance | 5.3 |" in text
