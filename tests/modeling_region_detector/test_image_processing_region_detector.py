import io

import numpy as np
import pytest
import torch
from helpers.regions.golden import read_config, read_tensors
from PIL import Image
from transformers import AutoImageProcessor, pipeline
from transformers.utils import ModelOutput
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig
from wenlan.modeling_region_detector.image_processing_region_detector import RegionImageProcessor

D2_SIZES = {"d2_c4": (160, 213), "d2_fpn": (128, 171)}


def from_bgr(array):
    return Image.fromarray(array.numpy()[..., ::-1].copy())


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def small(variant="bua", **changes):
    return RegionImageProcessor.from_variant(variant, {"size": {"shortest_edge": 32, "longest_edge": 64}} | changes)


@pytest.mark.parametrize("index", [0, 1])
def test_pixels_equal_bottom_up_attention(index):
    golden = read_tensors("bua")
    processor = RegionImageProcessor(size={"shortest_edge": 160, "longest_edge": 267})
    batch = processor(from_bgr(golden[f"image{index}.image_bgr_u8"]), return_tensors="pt")
    torch.testing.assert_close(batch["pixel_values"][0], golden[f"image{index}.blob"], atol=2e-5, rtol=0)
    assert batch["image_scales"].tolist() == [[pytest.approx(float(golden[f"image{index}.im_scale"]), rel=1e-7)] * 2]


@pytest.mark.parametrize("case", ["d2_c4", "d2_fpn"])
def test_batch_of_two_sizes_equals_detectron2(case):
    golden, (shortest, longest) = read_tensors(case), D2_SIZES[case]
    changes = {"size": {"shortest_edge": shortest, "longest_edge": longest}}
    processor = RegionImageProcessor.from_variant(case.replace("_", "-"), changes)
    images = [from_bgr(golden[f"image_bgr_u8.{index}"]) for index in (0, 1)]
    batch = processor(images, return_tensors="pt")
    assert list(batch["pixel_values"].shape) == golden["pixel_values_shape"].tolist()
    torch.testing.assert_close(batch["pixel_values"][..., :6, :6], golden["pixel_values_corner"], atol=1e-5, rtol=0)
    mean = torch.tensor(processor.image_mean)[:, None, None]
    for index, (height, width) in enumerate(golden["image_sizes"].tolist()):
        pixels = batch["pixel_values"][index, :, :height, :width]
        torch.testing.assert_close(pixels + mean, golden[f"resized_bgr_u8.{index}"].float(), atol=1e-5, rtol=0)
        mask = torch.zeros(batch["pixel_mask"].shape[1:], dtype=torch.int64)
        mask[:height, :width] = 1
        assert torch.equal(batch["pixel_mask"][index], mask)
        assert (batch["pixel_values"][index] * (1 - mask)).abs().sum() == 0
        original = golden[f"image_bgr_u8.{index}"].shape
        expected = [height / original[0], width / original[1]]
        assert batch["image_scales"][index].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("variant", "case"), [("bua", "bua"), ("d2-c4", "d2_c4"), ("d2-fpn", "d2_fpn")])
def test_defaults_equal_the_configuration_of_the_original(variant, case):
    original = read_config(case)["cfg"]
    processor = RegionImageProcessor.from_variant(variant)
    assert list(processor.image_mean) == original["MODEL"]["PIXEL_MEAN"]
    assert list(processor.image_std) == original["MODEL"]["PIXEL_STD"]
    assert processor.do_flip_channel_order is (original["INPUT"]["FORMAT"] == "BGR")


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'd2-fpn'"):
        RegionImageProcessor.from_variant("d2-fpm")


def test_pixels_of_a_timm_backbone_are_red_first_and_in_minus_one_to_one():
    processor = RegionImageProcessor(
        size={"shortest_edge": 192, "longest_edge": 320},
        resize_style="pillow",
        do_flip_channel_order=False,
        do_rescale=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    pixel_values = processor(Image.new("RGB", (192, 192), (255, 0, 51)), return_tensors="pt")["pixel_values"]
    assert pixel_values.shape == (1, 3, 192, 192)
    torch.testing.assert_close(pixel_values[0, :, 9, 9], torch.tensor([1.0, -1.0, -0.6]))


@pytest.mark.parametrize("variant", ["bua", "d2-c4"])
def test_image_does_not_depend_on_its_batch(variant):
    images = [noise(40, 30), noise(30, 50, 1), noise(9, 9, 2)]
    batch = small(variant)(images, return_tensors="pt")
    for index, image in enumerate(images):
        single = small(variant)(image, return_tensors="pt")
        height, width = single["pixel_values"].shape[2:]
        assert torch.equal(batch["pixel_values"][index, :, :height, :width], single["pixel_values"][0])
        assert torch.equal(batch["image_scales"][index], single["image_scales"][0])


@pytest.mark.parametrize("variant", ["bua", "d2-c4", "d2-fpn", "lxmert"])
@pytest.mark.parametrize(
    ("size", "expected"), [((1, 1), (32, 32)), ((10_000, 40), (1, 64)), ((40, 10_000), (64, 1)), ((10_000, 1), (1, 64))]
)
def test_extreme_shapes_keep_a_pixel_a_side_and_are_padded_to_three(variant, size, expected):
    batch = small(variant, size_divisibility=0)(noise(*size), return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, max(expected[0], 3), max(expected[1], 3))
    assert batch["pixel_values"].isfinite().all()
    assert batch["pixel_mask"].sum() == expected[0] * expected[1]
    assert batch["image_scales"].gt(0).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_other_modes_become_three_channels(mode):
    image = Image.new(mode, (9, 7))
    assert small()(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 41)


def test_transparency_becomes_white():
    pixel_values = small()(Image.new("RGBA", (9, 7), (0, 0, 0, 0)), return_tensors="pt")["pixel_values"]
    expected = 255 - torch.tensor(RegionImageProcessor.image_mean)
    torch.testing.assert_close(pixel_values[0, :, 5, 5], expected)


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (7, 1)])
def test_arrays_and_tensors_equal_pil(size):
    image = noise(*size)
    expected = small()(image, return_tensors="pt")["pixel_values"]
    array = np.array(image)
    for same in (array, torch.from_numpy(array).permute(2, 0, 1)):
        assert torch.equal(small()(same, return_tensors="pt")["pixel_values"], expected)


def test_paths_are_refused():
    with pytest.raises(TypeError, match="decode_image"):
        small()(["cat.png"])


def test_arrays_in_other_units_give_the_pixels_of_uint8():
    array = np.array(noise(9, 7))
    expected = small()(Image.fromarray(array), return_tensors="pt")["pixel_values"]
    same = (array / 255, torch.tensor(array / 255).permute(2, 0, 1), array.astype(np.uint16) * 257, array[None])
    for image in same:
        assert torch.equal(small()(image, return_tensors="pt")["pixel_values"], expected)


@pytest.mark.parametrize("image", [np.full((9, 7, 3), -0.5), torch.full((3, 9, 7), float("nan"))])
def test_arrays_of_unknown_units_are_refused(image):
    with pytest.raises(ValueError, match="not certain"):
        small()(image)


def test_broken_exif_counts_as_none():
    stream = io.BytesIO()
    noise(9, 7).save(stream, "JPEG", exif=b"Exif\0\0 no TIFF header")
    broken = small()(Image.open(stream), return_tensors="pt")["pixel_values"]
    assert broken.shape == small()(noise(9, 7), return_tensors="pt")["pixel_values"].shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"shortest_edge": 600}}, "longest_edge"),
        ({"size": {"height": 600, "width": 600}}, "longest_edge"),
        ({"resize_style": "nearest"}, "'opencv' or 'pillow'"),
        ({"resample": Image.Resampling.BICUBIC}, "bilinear"),
        ({"do_center_crop": True, "crop_size": 9}, "crop"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        RegionImageProcessor(**settings)


def test_saved_and_loaded_gives_the_same_bits(tmp_path):
    processor = small("d2-fpn", nms_threshold=0.4, max_attributes=2)
    processor.save_pretrained(tmp_path)
    loaded = RegionImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    before, after = (each(noise(40, 30), return_tensors="pt") for each in (processor, loaded))
    assert set(before) == {"pixel_values", "pixel_mask", "image_scales"}
    for key in before:
        assert torch.equal(before[key], after[key])


def test_auto_class_opens_the_folder_of_a_detector(tmp_path):
    tiny_detector("d2-fpn").save_pretrained(tmp_path)
    processor = small("d2-fpn")
    processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(loaded) is RegionImageProcessor
    assert loaded.to_dict() == processor.to_dict()


def test_half_precision_leaves_scales_and_boxes_alone():
    annotation = {"image_id": 1, "annotations": [{"bbox": [0.1, 0.1, 5.3, 5.7], "category_id": 1}]}
    batch = small()(noise(40, 30), annotation, return_tensors="pt").to(torch.bfloat16)
    assert batch["pixel_values"].dtype == torch.bfloat16
    assert batch["image_scales"].dtype == batch["labels"][0]["boxes"].dtype == torch.float32
    assert batch["image_scales"].tolist() == [[pytest.approx(32 / 30, rel=1e-7)] * 2]


def test_labels_follow_the_resize():
    image = Image.new("RGB", (64, 32))
    image.paste((255, 255, 255), (8, 4, 40, 20))
    annotation = {"image_id": 7, "annotations": [{"bbox": [8, 4, 32, 16], "category_id": 3}]}
    processor = small("d2-c4", size={"shortest_edge": 64, "longest_edge": 1000}, image_mean=[0.0] * 3)
    batch = processor([image], [annotation], return_tensors="pt")
    x1, y1, x2, y2 = batch["labels"][0]["boxes"][0].int().tolist()
    assert (x1, y1, x2, y2) == (16, 8, 80, 40)
    inside = torch.zeros_like(batch["pixel_values"][0])
    inside[:, y1:y2, x1:x2] = 255
    assert (batch["pixel_values"][0] - inside).abs().gt(127).sum() == 0
    assert batch["labels"][0]["class_labels"].tolist() == [3]


def test_attributes_of_one_image_give_columns_to_all():
    box = {"bbox": [0, 0, 5, 5], "category_id": 1}
    annotations = [
        {"image_id": 0, "annotations": [box | {"attribute_ids": [4]}]},
        {"image_id": 1, "annotations": [box, box]},
        {"image_id": 2, "annotations": []},
    ]
    batch = small(max_attributes=2)([noise(9, 7)] * 3, annotations, return_tensors="pt")
    assert [labels["attributes"].tolist() for labels in batch["labels"]] == [[[4, -1]], [[-1, -1]] * 2, []]
    assert [labels["boxes"].shape for labels in batch["labels"]] == [(1, 4), (2, 4), (0, 4)]


def test_annotations_must_be_as_many_as_images():
    with pytest.raises(ValueError, match="1 annotations for 2 images"):
        small()([noise(9, 7)] * 2, {"image_id": 0, "annotations": []})


def outputs_of(probabilities, boxes, mask=None):
    """Returns what a detector gives for one image: (n, k + 1) probabilities, (n, c, 4) boxes."""
    return ModelOutput(
        logits=torch.tensor([probabilities]).log(),
        pred_boxes=torch.tensor([boxes], dtype=torch.float32),
        proposal_mask=torch.tensor([mask or [1] * len(boxes)]),
    )


LEFT, SHIFTED, RIGHT = [0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]


def test_detections_are_the_best_of_their_class():
    outputs = outputs_of(
        [[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.1, 0.5, 0.4]], [[LEFT, LEFT], [SHIFTED, SHIFTED], [RIGHT, LEFT]]
    )
    found = small("d2-c4").post_process_object_detection(outputs, threshold=0.25)[0]
    assert found["labels"].tolist() == [0, 1]
    assert found["scores"].tolist() == pytest.approx([0.7, 0.5])
    assert found["boxes"].tolist() == [SHIFTED, LEFT]


def test_background_first_is_seen_in_the_shapes():
    boxes = [[RIGHT, LEFT, SHIFTED]]  # background, class 0, class 1
    found = small().post_process_object_detection(outputs_of([[0.1, 0.3, 0.6]], boxes), threshold=0.25)[0]
    assert found["labels"].tolist() == [1, 0]
    assert found["boxes"].tolist() == [SHIFTED, LEFT]


def test_rows_that_only_pad_are_never_detections():
    outputs = outputs_of([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05]], [[LEFT] * 2, [RIGHT] * 2], mask=[1, 0])
    found = small("d2-c4").post_process_object_detection(outputs)[0]
    assert found["boxes"].tolist() == [LEFT]


def test_top_k_keeps_the_best():
    outputs = outputs_of([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1]], [[LEFT] * 2, [RIGHT] * 2])
    found = small("d2-c4").post_process_object_detection(outputs, top_k=1)[0]
    assert found["boxes"].tolist() == [RIGHT]


def test_target_sizes_clip_the_boxes():
    outputs = outputs_of([[0.9, 0.1]], [[[-3, 2, 70, 50]]])
    found = small("d2-c4").post_process_object_detection(outputs, target_sizes=torch.tensor([[40, 60]]))[0]
    assert found["boxes"].tolist() == [[0, 2, 60, 40]]


def test_target_sizes_must_be_as_many_as_images():
    with pytest.raises(ValueError, match="2 target sizes for 1 images"):
        small("d2-c4").post_process_object_detection(outputs_of([[0.9, 0.1]], [[LEFT]]), target_sizes=[(1, 1)] * 2)


def test_nothing_above_the_threshold_is_an_empty_detection():
    found = small("d2-c4").post_process_object_detection(outputs_of([[0.4, 0.6]], [[LEFT]]))[0]
    assert found["boxes"].shape == (0, 4)
    assert found["labels"].dtype == torch.int64


@pytest.mark.parametrize(("case", "variant"), [("d2_c4", "d2-c4"), ("d2_fpn", "d2-fpn")])
@pytest.mark.parametrize("index", [0, 1])
def test_detections_equal_detectron2(case, variant, index):
    golden = read_tensors(case)
    height, width = golden["image_sizes"][index].tolist()
    boxes = golden[f"pred_boxes_all.{index}"].reshape(40, 7, 4)
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    outputs = outputs_of(golden[f"cls_probs.{index}"].tolist(), boxes.tolist())
    processor = RegionImageProcessor.from_variant(variant)
    found = processor.post_process_object_detection(outputs, threshold=0.3, top_k=20)[0]
    assert torch.equal(found["labels"], golden[f"det_classes.{index}"])
    torch.testing.assert_close(found["scores"], golden[f"det_scores.{index}"], atol=2e-6, rtol=0)
    torch.testing.assert_close(found["boxes"], golden[f"det_boxes_resized.{index}"], atol=5e-4, rtol=0)


def tiny_detector(variant):
    torch.manual_seed(0)
    tiny = {"depth": 50, "stem_channels": 4, "bottleneck_channels": 4, "res2_channels": 16, "post_nms_top_n": 20}
    tiny |= {"id2label": {0: "cat", 1: "dog", 2: "kite"}, "num_objects": 3}
    return RegionDetector(RegionDetectorConfig.from_variant(variant, tiny)).eval()


def test_object_detection_pipeline_gives_named_boxes(tmp_path, caplog):
    tiny_detector("d2-c4").save_pretrained(tmp_path)
    small("d2-c4", size={"shortest_edge": 120, "longest_edge": 200}).save_pretrained(tmp_path)
    detect = pipeline("object-detection", model=str(tmp_path))
    assert "not supported" not in caplog.text
    found = detect(noise(40, 30), threshold=0.1)
    assert found
    assert {each["label"] for each in found} <= {"cat", "dog", "kite"}
    assert all(0 <= each["box"]["xmin"] <= each["box"]["xmax"] <= 40 for each in found)
    assert all(0 <= each["box"]["ymin"] <= each["box"]["ymax"] <= 30 for each in found)


def test_boxes_of_which_nothing_is_inside_are_left_out():
    outputs = outputs_of([[0.9, 0.1], [0.8, 0.2]], [[[70, 2, 90, 50]], [LEFT]])
    found = small("d2-c4").post_process_object_detection(outputs, target_sizes=[(40, 60)])[0]
    assert found["boxes"].tolist() == [LEFT]
    assert found["scores"].tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("variant", ["bua", "d2-c4", "d2-fpn", "lxmert"])
@pytest.mark.parametrize("size", [(1, 1), (10_000, 40), (40, 10_000), (10_000, 1)])
def test_detector_reads_extreme_shapes(variant, size):
    processor = small(variant)
    outputs = tiny_detector(variant)(**processor(noise(*size), return_tensors="pt"))
    assert outputs.image_sizes.tolist() == [[pytest.approx(size[1]), pytest.approx(size[0])]]
    found = processor.post_process_object_detection(outputs, threshold=0.0)[0]
    assert found["boxes"].isfinite().all()
