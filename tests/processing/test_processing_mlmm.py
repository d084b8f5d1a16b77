import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from transformers.utils import logging as transformers_logging
from wenlan.data import LANGUAGES as EMOJI7_LANGUAGES
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing import MLMMProcessor, RegionError
from wenlan.processing.processing_mlmm import LANGUAGES

LOGGER = "wenlan.processing.processing_mlmm"


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    tiny_detector().save_pretrained(folder)
    RegionImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


@pytest.fixture
def processor(small_tokenizer):
    return MLMMProcessor(small_tokenizer)


@pytest.fixture
def looking(small_tokenizer, detector_folder):
    """A processor with a detector."""
    return MLMMProcessor(small_tokenizer, detector=str(detector_folder), min_boxes=2, max_boxes=5)


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_texts_and_regions_come_out_together(processor, make_image):
    batch = processor(regions=[make_image(0), make_image(1, count=2)], text=["a cat", "two red keys"])
    assert batch["region_features"].shape == (2, 4, 12)
    assert batch["region_boxes"].shape == (2, 4, 7)
    assert batch["region_attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["input_ids"][:, 0].tolist() == [0, 0]
    assert sorted(batch) == sorted(processor.model_input_names)


def test_one_text_and_one_row_make_a_batch_of_one(processor, make_image):
    batch = processor(regions=make_image(0), text="a cat")
    assert len(batch["input_ids"]) == len(batch["region_features"]) == 1


def test_class_distributions_come_only_when_asked_for(processor, make_image):
    row = make_image(0)
    assert "region_class_probs" not in processor(regions=row)
    probs = processor(regions=row, return_class_probs=True)["region_class_probs"]
    assert torch.equal(probs[0], torch.from_numpy(row["class_probs"]))


def test_boxes_without_a_size_are_shares_of_the_image(processor, make_image):
    row = make_image(0)
    fractions = row["boxes"] / np.array([200, 100, 200, 100], np.float32)
    imported = row | {"boxes": fractions, "image_height": None, "image_width": None}
    assert torch.equal(processor(regions=imported)["region_boxes"], processor(regions=row)["region_boxes"])


def test_images_run_through_the_detector(looking, image, tmp_path):
    image.save(tmp_path / "image.png")
    found = looking.region_extractor.extract([image], min_boxes=2, max_boxes=5)
    expected = looking(regions=found, return_class_probs=True)
    assert 2 <= expected["region_features"].shape[1] <= 5
    array = np.array(image)
    for images in (image, [image], str(tmp_path / "image.png"), array, array[None], [array / 255]):
        batch = looking(images=images, return_class_probs=True)
        assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_detector_is_opened_when_the_first_image_comes(small_tokenizer, make_image):
    processor = MLMMProcessor(small_tokenizer, detector="no/such/folder")
    processor(regions=make_image(0), text="a cat")
    with pytest.raises(OSError, match="no/such/folder"):
        processor(images=Image.new("RGB", (9, 7)))


def test_opened_detector_is_not_saved(looking, image, tmp_path):
    looking(images=image)
    looking.save_pretrained(tmp_path)
    assert "detector" in (tmp_path / "processor_config.json").read_text("utf-8")
    loaded = MLMMProcessor.from_pretrained(tmp_path)
    assert (loaded.detector, loaded.min_boxes, loaded.max_boxes) == (looking.detector, 2, 5)
    before, after = looking(images=image, text="key"), loaded(images=image, text="key")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert looking._extractor is not None


def test_folder_with_a_copy_of_the_detector_needs_no_other(looking, image, tmp_path):
    looking.save_pretrained(tmp_path / "first", copy_detector=True)
    (tmp_path / "first").rename(tmp_path / "moved")
    loaded = MLMMProcessor.from_pretrained(tmp_path / "moved")
    assert loaded.detector == "./detector"
    assert torch.equal(loaded(images=image)["region_features"], looking(images=image)["region_features"])
    loaded.save_pretrained(tmp_path / "second")
    again = MLMMProcessor.from_pretrained(tmp_path / "second")
    assert torch.equal(again(images=image)["region_features"], looking(images=image)["region_features"])
    assert not Path(looking.detector).is_relative_to(tmp_path)


def test_image_without_a_detector_is_an_error(processor, image):
    with pytest.raises(ValueError, match="names no detector"):
        processor(images=image)


def test_detector_that_was_set_is_used(processor, looking, image):
    processor.region_extractor = looking.region_extractor
    assert processor(images=image)["region_features"].shape[1] >= 1


def test_text_over_the_limit_is_cut_and_said_once(processor, caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    transformers_logging.get_logger(LOGGER).warning_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            batch = processor(text=["Is there a cat? " * 30, "a cat"])
    assert batch["input_ids"].shape == (2, 62)  # 60 pieces, <s> and </s>
    assert batch["input_ids"][0, -1] == 2
    assert sum("more than 60 word pieces" in record.getMessage() for record in caplog.records) == 1


def test_text_at_the_limit_is_not_reported(small_tokenizer, caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    transformers_logging.get_logger(LOGGER).warning_once.cache_clear()
    pieces = len(small_tokenizer.tokenize("a red key"))
    with caplog.at_level(logging.WARNING):
        MLMMProcessor(small_tokenizer, max_text_length=pieces)(text="a red key")
    assert not caplog.records


@pytest.mark.parametrize("blank", ["", " \n", "\u3000", "\ufeff", "\u200b\x00"])
def test_blank_text_names_its_index(processor, blank):
    with pytest.raises(ValueError, match="Text 1 is blank"):
        processor(text=["a cat", blank])


def test_something_that_is_no_text_names_its_index(processor):
    with pytest.raises(ValueError, match="Text 1 is a NoneType"):
        processor(text=["a cat", None])


def test_features_of_another_width_name_both(small_tokenizer, make_image):
    processor = MLMMProcessor(small_tokenizer, region_feature_dim=16)
    with pytest.raises(RegionError, match=r"Image image0 .* 12 numbers a region, where 16 are expected"):
        processor(regions=make_image(0))


def test_image_without_regions_is_named(processor, make_image):
    with pytest.raises(RegionError, match="Image image1 has no regions"):
        processor(regions=[make_image(0), make_image(1, count=0)])


def test_features_with_nan_are_named(processor, make_image):
    with pytest.raises(RegionError, match="Image image0 has NaN"):
        processor(regions=make_image(0, features=np.full((4, 12), np.nan, np.float16)))


def test_unknown_language_names_the_known_ones(processor):
    with pytest.raises(ValueError, match="Unknown language 'es'; MLMM has zh, en, de, fr, cs, ja, ko"):
        processor(text=["un gato", "a cat"], language=["es", "en"])
    processor(text="a cat", language="en")


def test_languages_are_those_of_the_data():
    assert LANGUAGES == EMOJI7_LANGUAGES


def test_nothing_to_process_is_an_error(processor):
    with pytest.raises(ValueError, match="needs `images` or `regions`"):
        processor()


def test_images_and_regions_at_once_are_an_error(processor, image, make_image):
    with pytest.raises(ValueError, match="both given"):
        processor(images=image, regions=make_image(0))


def test_no_images_are_an_error(processor):
    with pytest.raises(ValueError, match="is empty"):
        processor(regions=[])


def test_limit_without_room_for_a_piece_is_refused(small_tokenizer):
    with pytest.raises(ValueError, match="at least one"):
        MLMMProcessor(small_tokenizer, max_text_length=0)


def test_decode_returns_the_text(processor):
    batch = processor(text="racing car")
    assert processor.batch_decode(batch["input_ids"], skip_special_tokens=True) == ["racing car"]


def test_tokenizer_is_saved_alike_whatever_it_was_called_with(processor, tmp_path, make_image):
    processor.save_pretrained(tmp_path / "new")
    processor(regions=[make_image(0), make_image(1)], text=["a cat", "two red keys and more"])
    processor.save_pretrained(tmp_path / "used")
    processor.tokenizer.backend_tokenizer.enable_padding(length=40)
    processor.save_pretrained(tmp_path / "padded")
    new, used, padded = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("new", "used", "padded"))
    assert new == used == padded
