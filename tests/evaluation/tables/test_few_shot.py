from wenlan.evaluation.few_shot.draws import paired_difference, summarize
from wenlan.evaluation.tables.few_shot import MARK, colour_table, few_shot_table
from wenlan.evaluation.tables.paper import paper_reference

ALONE, OURS = [0.30, 0.32], [0.31, 0.35]
RESULTS = {
    "TF-IDF": {
        "nearest: one sample": summarize([0.18, 0.2]),
        "nearest: centroid of all samples": summarize([0.4, 0.4]),
    },
    "encoder alone": {"nearest: one sample": summarize([0.2, 0.2]), "text only": summarize(ALONE)},
    "brivl": {
        "text only": summarize(OURS) | {"difference": paired_difference(OURS, ALONE)},
        "both, permuted": summarize(ALONE) | {"difference": paired_difference(ALONE, ALONE)},
    },
}


def test_rows_of_the_paper_stand_beside_ours_and_are_marked():
    text = few_shot_table(RESULTS, {"chance": 1.5}).to_markdown()
    assert f"> **{MARK}**" in text
    assert "| *BriVL 2.0* | *46.47* | – |" in text
    assert (
        "| brivl | **text only** | **33.00** | **2.83** | **2** | **31.00 to 35.00** | **2.00** | **1.00 to 3.00** |"
        in text
    )
    assert "|  | both, permuted | 31.00 |" in text
    assert "| floors | chance | 1.50 |" in text


def test_nearest_prototypes_stand_in_a_part_of_their_own_by_what_they_know():
    nearest = few_shot_table(RESULTS, {}).parts[1]
    assert [column for _, column in nearest.columns] == ["one sample", "centroid of all samples"]
    assert [(row.name, row.kind, nearest.cells(row)) for row in nearest.rows] == [
        ("TF-IDF", "control", ["19.00", "40.00"]),
        ("encoder alone", "ours", ["20.00", "–"]),
    ]


def test_rows_of_chosen_penalties_stand_in_a_part_of_their_own():
    chosen = {"brivl": RESULTS["brivl"] | {"penalty chosen: text only": summarize(ALONE)}}
    parts = few_shot_table(chosen, {}).parts
    assert [row.name for row in parts[0].rows if row.kind != "paper"] == ["text only", "both, permuted"]
    assert parts[1].columns[0] == ("CSLDCP, 1-shot, penalty chosen on texts that are not drawn", "accuracy")
    assert [row.name for row in parts[1].rows] == ["penalty chosen: text only"]


def test_colour_table_has_no_rows_of_the_paper():
    text = colour_table({"brivl": RESULTS["brivl"]}, {"chance": 20.0}).to_markdown()
    assert "BriVL 2.0" not in text
    assert "**text only** | **33.00**" in text


def test_reference_is_that_of_the_paper():
    reference = paper_reference(2)
    assert reference["metrics"]["BriVL 1.0"] == [35.59]
    assert reference["columns"] == [["CSLDCP, 1-shot", "accuracy"]]
