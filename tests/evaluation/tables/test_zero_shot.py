"""The paper's table 1 with rows of ours."""

import pytest
from wenlan.evaluation.tables.paper import TABLE_1, TABLE_1_COLUMNS, paper_reference
from wenlan.evaluation.tables.zero_shot import METRICS, NOT_COMPARABLE, zero_shot_table

METRIC = {name: 50.0 for name in METRICS} | {"top_1_interval": [41.0, 59.04], "top_5_interval": None, "n": 12}
FACTS = {
    "classes": 6,
    "languages": {"zh": {"{}": METRIC, "ensemble": METRIC, "per_class": {"a": 1.0}, "templates": []}},
}


def test_rows_of_the_paper_are_the_specified_ones():
    assert TABLE_1 == {"CLIP": (82.5, 95.2), "BriVL 1.0": (69.6, 88.9), "BriVL 2.0": (85.0, 96.0)}
    assert TABLE_1_COLUMNS == {"ImageNet-200": ("top-1", "top-5")}
    reference = paper_reference(1)
    assert reference["source"].endswith("table 1")
    assert reference["columns"] == [["ImageNet-200", "top-1"], ["ImageNet-200", "top-5"]]
    assert reference["metrics"]["BriVL 2.0"] == [85.0, 96.0]


def test_ours_stand_apart_from_the_papers_and_are_marked():
    table = zero_shot_table({"pets": FACTS, "birds": FACTS})
    paper, ours = table.parts
    assert [row.kind for row in paper.rows] == ["paper"] * 3
    assert [(row.group, row.name) for row in ours.rows] == [
        (name, f"zh, {kind}") for name in ("pets", "birds") for kind in ("{}", "ensemble")
    ]
    cells = dict(zip([heading for _, heading in ours.columns], ours.cells(ours.rows[0]), strict=True))
    assert (cells["top-1 95 %"], cells["top-5 95 %"], cells["images"], cells["classes"]) == (
        "41.0–59.0",
        "–",
        "12",
        "6",
    )
    assert (table.mark, NOT_COMPARABLE in table.to_markdown()) == (NOT_COMPARABLE, True)


def test_classes_that_share_a_name_are_told():
    languages = {"ja": {"{}": METRIC, "classes_sharing_a_name": 2}, "en": {"{}": METRIC, "classes_sharing_a_name": 0}}
    table = zero_shot_table({"pets": FACTS | {"languages": languages}})
    told = [note for note in table.notes if "share a name" in note]
    assert told == ["pets, ja: 2 of 6 classes share a name and cannot be told apart; the first with a name wins."]


def test_comparable_rows_stand_among_the_papers_without_a_mark():
    table = zero_shot_table({"ImageNet-200": FACTS}, comparable=True)
    assert table.mark is None
    assert [row.kind for row in table.parts[0].rows] == ["paper"] * 3 + ["ours"] * 2
    assert list(table.parts[0].rows[-1].values) == pytest.approx([50, 50])
