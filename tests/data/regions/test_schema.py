import dataclasses

import numpy as np
import pytest
from helpers.regions.rows import INFO, random_row, same
from wenlan.data.regions.schema import RegionInfo, RowDecoder
from wenlan.data.rows.report import BadRowError


def there_and_back(row, info):
    stored = {name: [value] for name, value in info.encode(row).items()}
    return {name: values[0] for name, values in RowDecoder(info)(stored).items()}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_row_comes_back_as_it_was(count):
    row = random_row("a", count=count)
    back = there_and_back(row, INFO)
    assert back.keys() == row.keys()
    assert same(row, back, names=row.keys() - {"class_probs"})
    assert np.abs(back["class_probs"] - row["class_probs"]).max(initial=0) < 5e-4  # float16
    assert {name: back[name].dtype.name for name in ("boxes", "features", "class_probs", "object_ids")} == {
        "boxes": "float32",
        "features": "float16",
        "class_probs": "float32",
        "object_ids": "int64",
    }


def test_best_classes_keep_their_place_and_the_rest_is_spread_evenly():
    row = random_row("a", count=1) | {"class_probs": np.array([[0.05, 0.5, 0.05, 0.3, 0.1]])}
    back = there_and_back(row, dataclasses.replace(INFO, top_k=2))
    assert np.allclose(back["class_probs"], [[0.2 / 3, 0.5, 0.2 / 3, 0.3, 0.2 / 3]], atol=1e-3)
    assert back["class_probs"].sum() == pytest.approx(1, abs=1e-6)


def test_image_without_regions_has_no_best_classes():
    assert there_and_back(random_row("a", count=0), dataclasses.replace(INFO, top_k=2))["class_probs"].shape == (0, 5)


def test_all_classes_as_the_best_ones_are_the_whole_distribution():
    row = random_row("a")
    full, best = (there_and_back(row, dataclasses.replace(INFO, top_k=top_k)) for top_k in (None, 5))
    assert np.array_equal(full["class_probs"], best["class_probs"])


def test_more_best_classes_than_classes_are_refused():
    with pytest.raises(ValueError, match="between 1 and the 5 classes"):
        dataclasses.replace(INFO, top_k=6)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"features": np.zeros((3, 7))}, "wrong shape"),
        ({"boxes": np.zeros((2, 4))}, "wrong shape"),
        ({"boxes": np.zeros((3, 5))}, "wrong shape"),
        ({"class_probs": np.zeros((3, 4))}, "wrong shape"),
        ({"object_ids": np.zeros(4)}, "wrong shape"),
        ({"features": np.full((3, 6), np.nan)}, "not finite"),
        ({"features": np.full((3, 6), 1e5)}, "not finite"),
        ({"boxes": np.full((3, 4), np.inf)}, "not finite"),
        ({"features": [["a"] * 6] * 3}, "no numbers"),
        ({"boxes": [[0, 0, 1], [0, 0, 1, 1]]}, "no numbers"),
        ({"attribute_ids": None}, "array missing"),
    ],
)
def test_row_that_does_not_fit_is_refused(change, cause):
    with pytest.raises(BadRowError) as error_info:
        INFO.encode(random_row("a") | change)
    assert error_info.value.cause == cause


def test_tensors_can_be_written_to():
    info = dataclasses.replace(INFO, num_classes=0, labels=())
    stored = {name: [value] for name, value in info.encode(random_row("a")).items()}
    row = RowDecoder(info, torch=True)(stored)
    row["features"][0].add_(1)
    assert row["features"][0].shape == (3, 6)
    assert row["boxes"][0].shape == (3, 4)


def test_information_survives_its_json():
    assert RegionInfo.from_json(INFO.to_json()) == INFO
