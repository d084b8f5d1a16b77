import numpy as np
import pytest
import torch
from wenlan.processing import RegionError
from wenlan.processing.region_inputs import list_regions, pad_regions, read_regions_of
from wenlan.processing.regions import RegionOutput


@pytest.fixture
def output():
    """Two images, the second with one region of two."""
    torch.manual_seed(0)
    return RegionOutput(
        features=torch.rand(2, 2, 3),
        boxes=torch.tensor([[[0.0, 0, 8, 8], [1, 1, 5, 9]], [[2, 2, 4, 6], [0, 0, 0, 0]]]),
        attention_mask=torch.tensor([[1, 1], [1, 0]]),
        class_probs=torch.rand(2, 2, 4),
        background_index=0,
        image_sizes=torch.tensor([[10, 20], [30, 40]]),
    )


def test_output_of_the_extractor_becomes_rows_without_padding(output):
    rows = list_regions(output)
    assert [len(row["boxes"]) for row in rows] == [2, 1]
    assert (rows[1]["image_height"], rows[1]["image_width"]) == (30, 40)
    assert torch.equal(rows[1]["class_probs"], output.class_probs[1, :1])


def test_output_without_classes_has_none_in_its_rows(output):
    output = RegionOutput(**{name: value for name, value in output.items() if name != "class_probs"})
    assert "class_probs" not in list_regions(output)[0]


def test_padding_is_zero_and_masked(output):
    batch = pad_regions([read_regions_of(row, "a", with_class_probs=True) for row in list_regions(output)])
    assert batch["region_attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["region_features"][1, 1].abs().sum() == 0
    assert batch["region_boxes"].shape == (2, 2, 7)
    assert batch["region_class_probs"].shape == (2, 2, 4)


def test_half_precision_becomes_single(make_image):
    row = make_image(0)
    features = read_regions_of(row, "a").features
    assert features.dtype == torch.float32
    assert np.array_equal(features.numpy(), row["features"].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "cause", "message"),
    [
        ({"boxes": np.zeros((0, 4)), "features": np.zeros((0, 12))}, "no regions", "cat has no regions"),
        ({"features": np.zeros((4, 7))}, "wrong width", "7 numbers a region, where 12 are expected"),
        ({"features": np.full((4, 12), np.nan)}, "not finite", "NaN or infinity in the features of 4 of 4"),
        ({"boxes": np.zeros((3, 4))}, "bad boxes", r"boxes of shape \(3, 4\) for 4 regions"),
        ({"boxes": np.full((4, 4), 300.0)}, "bad boxes", "cat: Box 0 reaches out of the image"),
        ({"class_probs": None}, "no class distribution", "no class distribution"),
        ({"class_probs": np.zeros((3, 5))}, "wrong width", r"class_probs of shape \(3, 5\)"),
        ({"class_probs": np.full((4, 5), np.inf)}, "not finite", "class distribution"),
    ],
)
def test_what_is_wrong_is_said_with_the_image_and_counted_by_cause(make_image, changes, cause, message):
    with pytest.raises(RegionError, match=message) as raised:
        read_regions_of(make_image(0, **changes), "cat", feature_dim=12, with_class_probs=True)
    assert raised.value.cause == cause


def test_images_of_two_detectors_cannot_share_a_batch(make_image):
    images = [read_regions_of(make_image(0, width=width), "a") for width in (12, 16)]
    with pytest.raises(RegionError, match="12 and 16 wide"):
        pad_regions(images)
