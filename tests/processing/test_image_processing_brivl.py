import json

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES
from PIL import Image
from safetensors.torch import load_file
from transformers import PreTrainedConfig, PreTrainedModel, pipeline
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput
from wenlan.processing import BriVLImageProcessor, ImageDecodingError, build_character_tokenizer

BRIVL = FIXTURES / "brivl"
GOLDEN = load_file(BRIVL / "preprocess.safetensors")
CASE = json.loads((BRIVL / "preprocess.json").read_text(encoding="utf-8"))
PATHS = [str(BRIVL / name) for name in CASE["files"]]
WHITE_NORMALISED = [(1 - mean) / std for mean, std in zip(CASE["mean"], CASE["std"], strict=True)]


@pytest.fixture
def processor():
    return BriVLImageProcessor(size=40, max_regions=6)


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("options", "key"), [({}, "no_antialias"), ({"antialias": True}, "antialias")])
def test_pixels_equal_the_original_code(processor, options, key):
    pixel_values = processor(PATHS, **options, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixel_values, GOLDEN[f"pixel_values_{key}"], atol=1e-6, rtol=0)


def test_boxes_equal_the_original_code(processor):
    batch = processor(PATHS, boxes=CASE["raw_boxes"], return_tensors="pt")
    torch.testing.assert_close(batch["boxes"], GOLDEN["boxes"], atol=1e-6, rtol=0)
    lengths = GOLDEN["box_lens"][:, None]
    assert torch.equal(batch["box_mask"], (torch.arange(6) < lengths).long())


def test_defaults_equal_the_released_model():
    batch = BriVLImageProcessor()(noise(50, 30), boxes=[[[0, 0, 10, 10]]], return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 456, 456)
    assert batch["boxes"].shape == (1, 37, 4)
    assert batch["boxes"].dtype == torch.float32
    assert batch["boxes"][0, 1].tolist() == [0, 0, 456, 456]


def test_without_boxes_only_pixels_come_out(processor):
    assert set(processor(images=[noise(9, 7)], return_tensors="pt")) == {"pixel_values"}


def test_no_box_at_all_leaves_the_whole_image(processor):
    batch = processor([noise(9, 7)], boxes=[np.zeros((0, 4))], return_tensors="pt")
    assert batch["boxes"][0, 0].tolist() == [0, 0, 40, 40]
    assert batch["box_mask"].tolist() == [[1, 0, 0, 0, 0, 0]]


def test_boxes_refer_to_the_upright_image(processor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 20).save(tmp_path / "turned.jpg", exif=exif)  # 20 x 40 once upright
    batch = processor([tmp_path / "turned.jpg"], boxes=[[[0, 0, 10, 10]]], return_tensors="pt")
    assert batch["boxes"][0, 0].tolist() == [0, 0, 20, 10]


def test_batch_of_eight_equals_eight_of_one(processor):
    images = [noise(20 + index % 3, 30 + index % 2, index) for index in range(8)]
    boxes = [[[0, 0, 5 + index, 6]] * index for index in range(8)]
    batch = processor(images, boxes=boxes, return_tensors="pt")
    for index in range(8):
        single = processor([images[index]], boxes=[boxes[index]], return_tensors="pt")
        for key, value in single.items():
            assert torch.equal(batch[key][index], value[0])


def test_arrays_and_tensors_equal_pil(processor):
    image = noise(21, 33)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    array = np.array(image)
    for same in (array, torch.from_numpy(array).permute(2, 0, 1)):
        assert torch.equal(processor(same, return_tensors="pt")["pixel_values"], expected)


def test_arrays_in_other_units_give_the_pixels_of_uint8(processor):
    array = np.array(noise(21, 33))
    expected = processor(array, return_tensors="pt")["pixel_values"]
    same = (array.astype(float), array / 255, torch.tensor(array / 255).permute(2, 0, 1), array[None], [array / 255])
    for image in same:
        assert torch.equal(processor(image, return_tensors="pt")["pixel_values"], expected)
    grey = processor(Image.fromarray(array[..., 0]), return_tensors="pt")["pixel_values"]
    for image in (
        array[..., 0],
        array[..., :1],
        array[..., 0].astype(np.uint16) * 257,
        torch.tensor(array[None, ..., 0]),
    ):
        assert torch.equal(processor(image, return_tensors="pt")["pixel_values"], grey)


def test_mixed_batch_of_paths_arrays_and_images_keeps_its_order(processor, tmp_path):
    images = [noise(21, 33, seed) for seed in range(4)]
    images[0].save(tmp_path / "a.png")
    mixed = [tmp_path / "a.png", np.array(images[1]) / 255, images[2], torch.tensor(np.array(images[3]))]
    expected = processor(images, return_tensors="pt")["pixel_values"]
    assert torch.equal(processor(mixed, return_tensors="pt")["pixel_values"], expected)


def test_floats_are_taken_as_they_are_without_rescaling(processor):
    array = np.array(noise(21, 33))
    expected = processor(array, return_tensors="pt")["pixel_values"]
    floats = torch.tensor(array / 255, dtype=torch.float32).permute(2, 0, 1)
    found = processor(floats, do_rescale=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_shape_that_can_be_read_both_ways_is_refused_unless_it_is_said(processor):
    array = np.array(noise(3, 5).resize((5, 3)))  # 3 rows of 5 pixels
    array = np.ascontiguousarray(array[:, :4])  # (3, 4, 3)
    with pytest.raises(ImageDecodingError, match="two ways"):
        processor(array)
    found = processor(array, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    assert torch.equal(found, processor(Image.fromarray(array), return_tensors="pt")["pixel_values"])


def test_grey_and_one_pixel_images_become_three_channels(processor):
    assert processor(Image.new("L", (9, 7)), return_tensors="pt")["pixel_values"].shape == (1, 3, 40, 40)
    assert processor(Image.new("RGB", (1, 1)), return_tensors="pt")["pixel_values"].shape == (1, 3, 40, 40)


def test_transparency_becomes_white(processor):
    pixel_values = processor(Image.new("RGBA", (9, 7), (0, 0, 0, 0)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixel_values[0, :, 5, 5], torch.tensor(WHITE_NORMALISED), atol=1e-5, rtol=0)


def test_undecodable_path_is_an_image_decoding_error(processor, tmp_path):
    with pytest.raises(ImageDecodingError, match="does not exist"):
        processor([str(tmp_path / "missing.png")])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[[0, 0, 1, 1]]], "1 arrays of boxes for 2 images"),
        ([[[0, 0, 1, 1]], [[0, 0, 1]]], r"boxes of image 1 have shape \(1, 3\)"),
        ([[[0, 0, 1, 1]], [0, 0, 1, 1]], r"boxes of image 1 have shape \(4,\)"),
        ([[[0, 0, 1, 1], [0, 0, 1]], []], "boxes of image 0 are no"),
        ([[], [[0, 0, 1, 1], [0, 0, float("nan"), 1]]], "Box 1 of image 1"),
        ([[], [[0, 0, float("inf"), 1]]], "Box 0 of image 1"),
        ([[[5, 0, 1, 1]], []], "Box 0 of image 0"),
        ([[[0, 3, 1, 3]], []], "Box 0 of image 0"),
    ],
)
def test_wrong_boxes_name_their_image_and_box(processor, boxes, message):
    with pytest.raises(ValueError, match=message):
        processor([noise(9, 7), noise(9, 7)], boxes=boxes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 40, "width": 41}}, "square"),
        ({"size": {"shortest_edge": 40}}, "square"),
        ({"max_regions": 0}, "max_regions"),
        ({"do_center_crop": True}, "neither crops nor pads"),
    ],
)
def test_settings_that_brivl_cannot_have_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        BriVLImageProcessor(**settings)


def test_saved_and_loaded_gives_the_same_bits(tmp_path):
    processor = BriVLImageProcessor(size=40, max_regions=3, antialias=True, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor.save_pretrained(tmp_path)
    loaded = BriVLImageProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == processor.to_dict()
    before, after = (each(PATHS, boxes=CASE["raw_boxes"], return_tensors="pt") for each in (processor, loaded))
    assert set(before) == set(after) == {"pixel_values", "boxes", "box_mask"}
    for key in before:
        assert torch.equal(before[key], after[key])


class MeanConfig(PreTrainedConfig):
    model_type = "wenlan-test-mean"


class MeanModel(PreTrainedModel):
    """Answers with the mean pixel, to see what the pipelines hand to a model."""

    config: MeanConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.post_init()

    def forward(self, pixel_values, input_ids=None, **kwargs):
        assert not {"boxes", "box_mask"} & set(kwargs)
        mean = pixel_values.mean(dim=(1, 2, 3)) * self.scale
        if input_ids is None:
            return BaseModelOutputWithPooling(last_hidden_state=mean[:, None])
        return ModelOutput(logits_per_image=mean[:, None] * torch.arange(len(input_ids)))


@pytest.fixture
def mean_model():
    return MeanModel(MeanConfig())


def test_zero_shot_pipeline_takes_the_image_processor(processor, mean_model):
    classify = pipeline(
        "zero-shot-image-classification",
        model=mean_model,
        tokenizer=build_character_tokenizer(["猫狗的照片"], max_length=16),
        image_processor=processor,
    )
    answer = classify(Image.new("RGB", (9, 7), "white"), candidate_labels=["猫", "狗"], hypothesis_template="{}的照片")
    assert answer[0]["label"] == "狗"


def test_feature_extraction_pipeline_takes_the_image_processor(processor, mean_model):
    extract = pipeline("image-feature-extraction", model=mean_model, image_processor=processor)
    expected = sum(WHITE_NORMALISED) / 3
    assert extract(Image.new("RGB", (9, 7), "white")) == [[pytest.approx(expected, abs=1e-5)]]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 9, 9], [200, 10, 240, 30]], "Box 1 of image 0.* outside of the image.* 60 x 40 pixels"),
        ([[-30, -30, -10, -10]], "Box 0 of image 0.* outside"),
        ([[30, 20, 90, 60]], "Box 0 of image 0.* outside"),
        ([[0, 0, 1e8, 1e8]], "Box 0 of image 0.* outside"),
        ([[0.1, 0.1, 0.5, 0.6], [0, 0, 1, 1]], "first pixel"),
    ],
)
def test_boxes_outside_of_their_image_or_in_fractions_are_refused(processor, boxes, message):
    with pytest.raises(ValueError, match=message):
        processor([noise(60, 40)], boxes=[boxes])


def test_boxes_that_leave_their_image_a_little_stay_as_they_are(processor):
    batch = processor([noise(60, 40)], boxes=[[[-2, 3, 70, 44], [0, 0, 1, 1]]], return_tensors="pt")
    torch.testing.assert_close(batch["boxes"][0, 0], torch.tensor([-2 * 40 / 60, 3, 70 * 40 / 60, 44]))


def test_images_as_the_original_reads_them_are_a_setting_that_is_saved(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    noise(30, 20).convert("RGBA").save(tmp_path / "a.png", exif=exif)
    box = [np.array([[0, 0, 30, 20]])]  # of the image as it is stored
    BriVLImageProcessor(size=40, as_original=True).save_pretrained(tmp_path)
    opened = BriVLImageProcessor.from_pretrained(tmp_path)
    batch = opened(str(tmp_path / "a.png"), boxes=box, return_tensors="pt")
    expected = BriVLImageProcessor(size=40)(noise(30, 20), return_tensors="pt")
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert batch["boxes"][0, 0].tolist() == [0, 0, 40, 40]
    upright = opened(str(tmp_path / "a.png"), as_original=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(upright, expected["pixel_values"].rot90(-1, (2, 3)))


def test_folder_from_before_the_setting_reads_images_upright(tmp_path):
    settings = json.loads(BriVLImageProcessor(size=40).to_json_string())
    del settings["as_original"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert BriVLImageProcessor.from_pretrained(tmp_path).as_original is False
