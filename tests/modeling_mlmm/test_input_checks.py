"""Every input that MLMM cannot read is refused with what was given and what fits."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from wenlan.modeling_mlmm import MLMMModel


@pytest.fixture(scope="module")
def tower():
    return MLMMModel(tiny_config()).eval()


def message(tower, **changes):
    batch = {name: value for name, value in {**tiny_batch(), **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=r".") as error:
        tower(**batch)
    return str(error.value)


def test_features_of_another_width_name_both_widths(tower):
    text = message(tower, region_features=torch.zeros(3, 6, 12))
    assert "12 numbers" in text
    assert "region_feature_dim is 10" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_feature_that_is_no_number_is_named_by_row_and_region(tower, value):
    features = tiny_batch()["region_features"]
    features[1, 4, 3] = value
    assert message(tower, region_features=features) == (
        "region_features hold NaN or infinity in 1 regions: row 1 region 4."
    )


def test_box_that_is_no_number_is_named(tower):
    boxes = tiny_batch()["region_boxes"]
    boxes[2, 0, 6] = float("nan")
    assert message(tower, region_boxes=boxes) == "region_boxes hold NaN or infinity in 1 regions: row 2 region 0."


def test_text_longer_than_the_positions_is_refused_with_the_limit(tower):
    ids = torch.full((3, 19), 5)
    text = message(tower, input_ids=ids, attention_mask=None)
    assert "19 tokens" in text
    assert "18" in text
    assert "truncation=True" in text


def test_longest_text_is_read(tower):
    assert tower(input_ids=torch.full((1, 18), 5)).text_states.shape == (1, 18, 24)


def test_features_without_boxes_are_refused(tower):
    assert "region_boxes are missing" in message(tower, region_boxes=None)


def test_boxes_without_features_are_refused(tower):
    assert "region_features are missing" in message(tower, region_features=None)


def test_four_numbers_a_box_are_refused(tower):
    assert message(tower, region_boxes=torch.zeros(3, 6, 4)) == "region_boxes must be (3, 6, 7), got (3, 6, 4)."


@pytest.mark.parametrize("name", ["attention_mask", "region_attention_mask", "masked_regions"])
def test_mask_of_another_shape_is_refused(tower, name):
    assert f"{name} must be" in message(tower, **{name: torch.ones(3, 2, dtype=torch.bool)})


def test_texts_and_images_must_be_paired(tower):
    text = message(tower, input_ids=torch.full((2, 4), 5), attention_mask=None)
    assert "2 texts for 3 images" in text


def test_row_with_neither_text_nor_regions_is_named(tower):
    batch = tiny_batch()
    batch["attention_mask"][2] = 0
    batch["region_attention_mask"][2] = 0
    assert message(tower, **batch) == "Neither text nor regions in 1 rows of the batch: 2."


def test_images_alone_without_any_region_are_refused(tower):
    with pytest.raises(ValueError, match="Neither text nor regions in 2 rows"):
        tower(region_features=torch.zeros(2, 0, 10), region_boxes=torch.zeros(2, 0, 7))


def test_nothing_at_all_is_refused(tower):
    with pytest.raises(ValueError, match="needs input_ids or region_features"):
        tower()


def test_ids_of_one_text_need_a_batch_axis(tower):
    with pytest.raises(ValueError, match=r"input_ids must be \(batch, tokens\), got \(4,\)"):
        tower(input_ids=torch.tensor([0, 5, 6, 2]))
