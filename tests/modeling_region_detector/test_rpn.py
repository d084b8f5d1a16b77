import pytest
import torch
from helpers.regions.golden import read_tensors
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.modeling_region_detector.rpn import build_cell_anchors, grid_anchors

STRIDES = {"d2_fpn": (4, 8, 16, 32, 64)}


def test_caffe_table_equals_the_original():
    (anchors,) = build_cell_anchors(RegionDetectorConfig.from_variant("bua"))
    assert torch.equal(anchors, read_tensors("ops")["anchors_caffe"])
    assert torch.equal(anchors, read_tensors("bua")["cell_anchors"])


def test_detectron2_table_equals_the_original():
    (anchors,) = build_cell_anchors(RegionDetectorConfig.from_variant("d2-c4"))
    torch.testing.assert_close(anchors, read_tensors("ops")["anchors_d2_c4"])


def test_lxmert_has_twelve_anchors():
    (anchors,) = build_cell_anchors(RegionDetectorConfig.from_variant("lxmert"))
    assert anchors.shape == (12, 4)


@pytest.mark.parametrize("image", ["image0", "image1"])
def test_caffe_anchors_of_a_map_equal_the_original(image):
    golden = read_tensors("bua")
    (cell,) = build_cell_anchors(RegionDetectorConfig.from_variant("bua"))
    height, width = golden[f"{image}.rpn_logits"].shape[-2:]
    assert torch.equal(grid_anchors(cell, height, width, 16), golden[f"{image}.anchors"])


@pytest.mark.parametrize("level", [2, 3, 4])
def test_anchors_of_the_pyramid_equal_the_original(level):
    golden = read_tensors("d2_fpn")
    cells = build_cell_anchors(RegionDetectorConfig.from_variant("d2-fpn"))
    height, width = golden[f"rpn_logits.{level}"].shape[-2:]
    anchors = grid_anchors(cells[level], height, width, 4 * 2**level)
    torch.testing.assert_close(anchors, golden[f"anchors.{level - 2}"])


def test_a_table_of_the_checkpoint_goes_before_the_computed_one():
    table = [[[0.0, 0.0, 8.0, 8.0]]]
    (anchors,) = build_cell_anchors(RegionDetectorConfig.from_variant("bua", {"cell_anchors": table}))
    assert anchors.tolist() == table[0]
