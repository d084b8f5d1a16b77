import pytest
import torch
from helpers.paths import FIXTURES
from safetensors.torch import load_file
from wenlan.processing import normalize_boxes

GOLDEN = FIXTURES / "mlmm"


@pytest.mark.parametrize("case", ["uc2_tiny", "uniter_tiny", "uc2_full_feature_dims"])
def test_seven_numbers_equal_those_of_the_references(case):
    inputs = load_file(GOLDEN / case / "inputs.safetensors")
    golden = [value for name, value in inputs.items() if name.startswith("example") and name.endswith("/boxes")]
    assert len(golden) > 1
    for boxes in golden:
        torch.testing.assert_close(normalize_boxes(boxes[:, :4]), boxes, rtol=0, atol=1e-6)


def test_pixels_become_shares_of_the_image():
    boxes = normalize_boxes(torch.tensor([[20.0, 10, 120, 60]]), height=100, width=200)
    torch.testing.assert_close(boxes, torch.tensor([[0.1, 0.1, 0.6, 0.6, 0.5, 0.5, 0.25]]))


def test_box_over_the_whole_image_has_an_area_of_one():
    assert normalize_boxes(torch.tensor([[0.0, 0, 200, 100]]), height=100, width=200)[0].tolist() == [0, 0, *[1] * 5]


def test_no_boxes_give_no_rows():
    assert normalize_boxes(torch.zeros(0, 4), height=10, width=10).shape == (0, 7)


@pytest.mark.parametrize(
    ("box", "size", "message"),
    [
        ([0, 0, 30, 30], {}, "no size of the image is known"),
        ([0, 0, 30, 30], {"height": 20, "width": 50}, "it is 20 x 50"),
        ([3, 0, 1, 1], {"height": 20, "width": 50}, "negative width or height"),
        ([0, 0, float("nan"), 1], {"height": 20, "width": 50}, "NaN"),
        ([0, 0, 1, 1], {"height": 0, "width": 50}, "0 high"),
    ],
)
def test_box_that_cannot_be_is_refused(box, size, message):
    with pytest.raises(ValueError, match=message):
        normalize_boxes(torch.tensor([box]), **size)
