import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing import DetectionAugmentation, DetectionCollator

OBJECT = {"bbox": [4.0, 2.0, 10.0, 6.0], "category_id": 3, "attribute_ids": [1]}


@pytest.fixture(scope="module")
def processor():
    return RegionImageProcessor.from_variant("d2-fpn", {"size": {"shortest_edge": 40, "longest_edge": 100}})


def row(objects=(OBJECT,), size=(40, 20), **fields):
    return {"image": Image.new("RGB", size), "image_id": 7, "objects": list(objects), "draw_seed": 1} | fields


def test_batch_holds_what_the_detector_reads(processor):
    batch = DetectionCollator(processor)([row(), row([], (20, 20))])
    assert set(batch) == {"pixel_values", "pixel_mask", "image_scales", "labels"}
    assert batch["pixel_values"].shape == (2, 3, 64, 96)
    assert batch["image_scales"].tolist() == [[2, 2], [2, 2]]
    assert batch["labels"][0]["boxes"].tolist() == [[8, 4, 28, 16]]
    assert batch["labels"][0]["class_labels"].tolist() == [3]
    assert batch["labels"][0]["attributes"][0, :2].tolist() == [1, -1]
    assert batch["labels"][1]["boxes"].shape == (0, 4)


def test_boxes_follow_the_augmentation(processor):
    batch = DetectionCollator(processor, DetectionAugmentation(flip_probability=1.0))([row()])
    assert batch["labels"][0]["boxes"].tolist() == [[52, 4, 72, 16]]


def test_scale_of_a_batch_changes_size_and_boxes_alike(processor):
    batch = DetectionCollator(processor, DetectionAugmentation(0.0, scale_range=(0.5, 0.5)))([row()])
    assert batch["image_scales"].tolist() == [[1, 1]]
    assert batch["labels"][0]["boxes"].tolist() == [[4, 2, 14, 8]]


def test_bad_image_is_left_out_and_counted(processor, tmp_path):
    collator = DetectionCollator(processor)
    batch = collator([row(), row(image=str(tmp_path / "none.png")), row(image=b"no image")])
    assert len(batch["labels"]) == len(batch["pixel_values"]) == 1
    assert collator.bad_rows.counts == {"file missing": 1, "not an image": 1}


def test_bad_images_are_counted_over_all_workers(processor):
    collator = DetectionCollator(processor)
    rows = [row(), row(image=b"")] * 4
    assert len(list(DataLoader(rows, batch_size=2, num_workers=2, collate_fn=collator))) == 4
    assert collator.bad_rows.counts == {"empty file": 4}


def test_batch_of_bad_images_alone_is_an_error(processor):
    with pytest.raises(ValueError, match="None of the 2 images"):
        DetectionCollator(processor)([row(image=b""), row(image=b"")])


def test_augmentation_without_a_seed_is_an_error(processor):
    rows = [{key: value for key, value in row().items() if key != "draw_seed"}]
    assert torch.is_tensor(DetectionCollator(processor)(rows)["pixel_values"])
    with pytest.raises(ValueError, match="draw_seed"):
        DetectionCollator(processor, DetectionAugmentation())(rows)
