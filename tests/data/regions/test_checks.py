"""What gets into no file of regions, by whichever way it comes."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.regions.rows import INFO, random_row
from wenlan.data import TooManyBadRowsError, import_regions, read_regions
from wenlan.data.regions.schema import RegionInfo, RowDecoder
from wenlan.data.rows.report import BadRowError

GOOD = random_row("good")
BOXES = GOOD["boxes"]
WRONG = {
    "no height": ({"image_height": 0}, "no image size"),
    "negative width": ({"image_width": -64}, "no image size"),
    "height of 2**40": ({"image_height": 2**40}, "no image size"),
    "height of a part": ({"image_height": 48.5}, "no image size"),
    "height as text": ({"image_height": "high"}, "no image size"),
    "height without width": ({"image_width": None}, "no image size"),
    "no size at all": ({"image_height": None, "image_width": None}, "no image size"),
    "reversed": ({"boxes": BOXES[:, [2, 1, 0, 3]]}, "bad boxes"),
    "upside down": ({"boxes": BOXES[:, [0, 3, 2, 1]]}, "bad boxes"),
    "far away": ({"boxes": BOXES + 1e8}, "bad boxes"),
    "left of the image": ({"boxes": BOXES - 60}, "bad boxes"),
    "of a larger copy": ({"boxes": BOXES * 3 + 40}, "bad boxes"),
    "fractions": ({"boxes": BOXES / 64}, "bad boxes"),
    "infinite": ({"boxes": np.full((3, 4), np.inf)}, "not finite"),
    "complex boxes": ({"boxes": BOXES.astype(complex)}, "no numbers"),
    "complex features": ({"features": GOOD["features"].astype(complex)}, "no numbers"),
    "features of objects": ({"features": GOOD["features"].astype(object)}, "no numbers"),
    "features as texts": ({"features": GOOD["features"].astype(str)}, "no numbers"),
    "features of unequal width": ({"features": [[1.0] * 6, [1.0] * 5, [1.0] * 6]}, "no numbers"),
    "features with NaN": ({"features": np.full((3, 6), np.nan)}, "not finite"),
    "features beyond float16": ({"features": np.full((3, 6), 70000.0)}, "not finite"),
    "features of one region": ({"features": GOOD["features"][:1]}, "wrong shape"),
    "features in a row": ({"features": GOOD["features"].ravel()}, "wrong shape"),
    "features of dates": ({"features": np.zeros((3, 6), "M8[s]")}, "no numbers"),
    "one box less": ({"boxes": BOXES[:2]}, "wrong shape"),
    "five numbers a box": ({"boxes": np.zeros((3, 5))}, "wrong shape"),
    "logits": ({"class_probs": GOOD["class_probs"] * 9}, "no probabilities"),
    "negative probabilities": ({"class_probs": GOOD["class_probs"] - 0.5}, "no probabilities"),
    "background elsewhere": ({"background_index": 4}, "another background"),
    "negative ids": ({"object_ids": np.array([1, -1, 2])}, "no ids"),
    "ids of 2**40": ({"object_ids": np.array([1, 2**40, 2])}, "no ids"),
    "parts of ids": ({"object_ids": np.array([1, 1.5, 2])}, "no ids"),
    "scores with NaN": ({"object_scores": np.array([0.5, np.nan, 1])}, "not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_row_that_breaks_a_rule_is_refused_by_cause_in_a_few_words(name):
    change, cause = WRONG[name]
    with pytest.raises(BadRowError) as refused:
        INFO.encode(GOOD | change)
    assert refused.value.cause == cause
    assert len(str(refused.value)) < 200


def test_box_that_leaves_its_image_by_a_rounding_is_clipped():
    boxes = np.array([[-0.5, 0, 64.6, 48.4], [1, 2, 3, 4], [0, 0, 64, 48]], np.float32)
    stored = INFO.encode(GOOD | {"boxes": boxes})
    assert np.array_equal(stored["boxes"], [[0, 0, 64, 48], [1, 2, 3, 4], [0, 0, 64, 48]])


def test_good_boxes_keep_their_bits():
    assert np.array_equal(INFO.encode(GOOD)["boxes"], BOXES)
    fractions = dataclasses.replace(INFO, box_unit="normalized")
    row = random_row("x", size=None)
    assert np.array_equal(fractions.encode(row)["boxes"], row["boxes"])


@pytest.mark.parametrize("factor", [77, -1])
def test_fractions_beyond_the_image_are_refused(factor):
    fractions, row = dataclasses.replace(INFO, box_unit="normalized"), random_row("x", size=None)
    with pytest.raises(BadRowError, match="bad boxes"):
        fractions.encode(row | {"boxes": row["boxes"] * factor})


def save(path, **change):
    row = GOOD | {"labels": None} | change
    arrays = {"x": row["features"], "bbox": row["boxes"], "image_h": row["image_height"], "image_w": row["image_width"]}
    np.savez(path, **arrays)


STORED = {"features", "boxes", "image_height"}
IMPORTED = {name: change for name, (change, _) in WRONG.items() if change.keys() <= STORED}


def test_import_leaves_such_files_out_each_with_its_name_and_cause(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(40):
        save(tmp_path / "in" / f"a good{number}.npz")
    left_out = [name for name in IMPORTED if not {"objects", "unequal", "text"} & set(name.split())]
    for name in left_out:
        save(tmp_path / "in" / f"{name}.npz", **IMPORTED[name])
    save(tmp_path / "in" / "endless height.npz", image_height=np.inf)
    save(tmp_path / "in" / "number.npz", features=np.float32(3))
    with pytest.raises(TooManyBadRowsError, match="more than 10% of the inputs"):
        import_regions(tmp_path / "in", tmp_path / "out")
    report = import_regions(tmp_path / "in", tmp_path / "out", max_bad_fraction=0.5)
    assert report.rows_kept == 40
    skipped = {entry["image_id"]: entry for entry in json.loads((tmp_path / "out/report.json").read_text())["skipped"]}
    assert skipped.keys() == {*left_out, "endless height", "number"}
    assert skipped["height of 2**40"]["cause"] == "no image size"
    assert "1099511627776" in skipped["height of 2**40"]["message"]


def test_first_file_may_be_a_bad_one(tmp_path):
    for name, features in {"a": np.float32(1), "b": np.zeros((3, 0)), "c": GOOD["features"]}.items():
        save(tmp_path / f"{name}.npz", features=features)
    report = import_regions(tmp_path, tmp_path / "out", max_bad_fraction=0.7)
    assert dict(report.counts) == {"wrong shape": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"feature_dim": 0},
        {"feature_dim": 10**12},
        {"num_classes": -1},
        {"background_index": 9},
        {"top_k": 99},
        {"box_unit": "miles"},
        {"labels": ("evil",)},
    ],
)
def test_description_that_cannot_be_is_refused(fields):
    with pytest.raises(ValueError, match=r" (is|of) "):
        RegionInfo.from_json(json.dumps(dataclasses.asdict(INFO) | fields))


@pytest.mark.parametrize(
    "columns",
    [
        {"features": [b"123"]},
        {"boxes": [[1, 2, 3]]},
        {"boxes": [[[1, 2, 3, "x"]]]},
        {"class_probs": [{"ids": b"\xff\xff", "probs": b"\0\0"}]},
        {"class_probs": [b"1"]},
        {"object_ids": [["a"]]},
    ],
)
def test_stored_bytes_that_do_not_fit_are_a_broken_shard(columns):
    info = dataclasses.replace(INFO, top_k=1) if isinstance(next(iter(columns.values()))[0], dict) else INFO
    with pytest.raises(BadRowError, match="broken shard: its rows do not fit"):
        RowDecoder(info)(columns)


def test_read_rows_of_good_files_are_whole(tmp_path):
    save(tmp_path / "a.npz")
    import_regions(tmp_path, tmp_path / "out")
    assert np.array_equal(next(iter(read_regions(tmp_path / "out", streaming=True)))["boxes"], BOXES)
