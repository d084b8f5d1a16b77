import json
import logging

import pytest
import torch
from helpers.paths import FIXTURES
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, BertTokenizer, PreTrainedConfig
from transformers.utils import logging as transformers_logging
from wenlan.processing import BriVLImageProcessor, BriVLProcessor

BRIVL = FIXTURES / "brivl"
GOLDEN = load_file(BRIVL / "preprocess.safetensors")
CASE = json.loads((BRIVL / "preprocess.json").read_text(encoding="utf-8"))
PATHS = [str(BRIVL / name) for name in CASE["files"]]


class RegisteredConfig(PreTrainedConfig):
    """Stands for BriVL's configuration: loading a processor looks its image processor up among the registered ones."""

    model_type = "wenlan-test-processing"


@pytest.fixture(scope="module", autouse=True)
def registered():
    AutoImageProcessor.register(
        RegisteredConfig, image_processor_classes={"torchvision": BriVLImageProcessor}, exist_ok=True
    )


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={token: index for index, token in enumerate(CASE["vocab"])})


@pytest.fixture
def image_processor():
    return BriVLImageProcessor(size=40, max_regions=6)


@pytest.fixture
def processor(image_processor, tokenizer):
    return BriVLProcessor(image_processor, tokenizer, max_text_length=16)


def test_texts_equal_the_original_code(image_processor, tokenizer):
    processor = BriVLProcessor(image_processor, tokenizer, max_text_length=16, pad_to_max_length=True)
    batch = processor(text=CASE["texts"], return_tensors="pt")
    assert torch.equal(batch["input_ids"], GOLDEN["input_ids"])
    assert torch.equal(batch["attention_mask"], (torch.arange(16) < GOLDEN["text_lens"][:, None]).long())


def test_images_boxes_and_text_come_out_together(processor, image_processor):
    batch = processor(images=PATHS, text=CASE["texts"], boxes=CASE["raw_boxes"], return_tensors="pt")
    assert set(batch) == {"pixel_values", "boxes", "box_mask", "input_ids", "attention_mask"}
    alone = image_processor(PATHS, boxes=CASE["raw_boxes"], return_tensors="pt")
    assert torch.equal(batch["pixel_values"], alone["pixel_values"])
    assert torch.equal(batch["boxes"], alone["boxes"])


def test_short_texts_are_padded_to_the_longest_of_their_batch_only(processor):
    assert processor(text=["北京", "北"], return_tensors="pt")["attention_mask"].tolist() == [
        [1, 1, 1, 1],
        [1, 1, 1, 0],
    ]


def test_faithful_padding_does_not_depend_on_the_batch(image_processor, tokenizer):
    processor = BriVLProcessor(image_processor, tokenizer, max_text_length=16, pad_to_max_length=True)
    alone = processor(text="北京", return_tensors="pt")["input_ids"]
    assert alone.shape == (1, 16)
    assert torch.equal(processor(text=["北京", "北京的秋天"], return_tensors="pt")["input_ids"][:1], alone)


def test_text_over_the_limit_is_cut_and_said_once(processor, caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    transformers_logging.get_logger("wenlan.processing.processing_brivl").warning_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            input_ids = processor(text="北京" * 20, return_tensors="pt")["input_ids"]
    assert input_ids.shape == (1, 16)
    assert input_ids[0, -1] == CASE["vocab"].index("[SEP]")
    assert sum("was cut" in record.getMessage() for record in caplog.records) == 1


def test_text_at_the_limit_is_not_reported(processor, caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    transformers_logging.get_logger("wenlan.processing.processing_brivl").warning_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        processor(text="北京" * 7)
    assert not caplog.records


@pytest.mark.parametrize("blank", ["", "  \n", "\u3000", "\ufeff", "\u200b \x00"])
def test_blank_text_names_its_index(processor, blank):
    with pytest.raises(ValueError, match="Text 1 is blank"):
        processor(text=["北京", blank])


def test_something_that_is_no_text_names_its_index(processor):
    with pytest.raises(ValueError, match="Text 2 is a NoneType"):
        processor(text=["北京", "北", None])


def test_nothing_to_process_is_an_error(processor):
    with pytest.raises(ValueError, match="needs `images`, `text` or both"):
        processor()


def test_boxes_without_images_are_an_error(processor):
    with pytest.raises(ValueError, match="without images"):
        processor(text="北京", boxes=[[[0, 0, 1, 1]]])


def test_limit_without_room_for_a_token_is_refused(image_processor, tokenizer):
    with pytest.raises(ValueError, match="at least 3"):
        BriVLProcessor(image_processor, tokenizer, max_text_length=2)


def test_arguments_of_a_call_go_before_the_defaults(processor):
    batch = processor(images=Image.new("RGB", (9, 7)), text="北京", max_length=6, padding="max_length", size=24)
    assert len(batch["input_ids"]) == 6
    assert batch["pixel_values"][0].shape == (3, 24, 24)


def test_decode_returns_the_text(processor):
    input_ids = processor(text=["北京的秋天"])["input_ids"]
    assert processor.batch_decode(input_ids, skip_special_tokens=True) == ["北 京 的 秋 天"]


def test_saved_and_loaded_gives_the_same_bits(image_processor, tokenizer, tmp_path):
    processor = BriVLProcessor(image_processor, tokenizer, max_text_length=12, pad_to_max_length=True)
    processor.save_pretrained(tmp_path)
    loaded = BriVLProcessor.from_pretrained(tmp_path)
    assert (loaded.max_text_length, loaded.pad_to_max_length) == (12, True)
    before, after = (
        each(images=PATHS, text=CASE["texts"], boxes=CASE["raw_boxes"], return_tensors="pt")
        for each in (processor, loaded)
    )
    assert set(before) == set(after)
    for key in before:
        assert torch.equal(before[key], after[key])


def test_processor_names_what_always_comes(processor):
    names = set(processor.model_input_names)
    assert names == set(processor(images=PATHS, text=CASE["texts"]))
    assert names < set(processor(images=PATHS, text=CASE["texts"], boxes=CASE["raw_boxes"]))


def test_tokenizer_is_saved_alike_whatever_it_was_called_with(processor, tmp_path):
    """Padding and truncation of the last call would go with it, so that a resumed run wrote another file."""
    saved = []
    for number, options in enumerate([{}, {"padding": "max_length", "max_length": 9}, {"truncation": False}]):
        processor(text=["一只猫", "猫"], **options)
        processor.save_pretrained(tmp_path / str(number))
        saved.append((tmp_path / str(number) / "tokenizer.json").read_bytes())
    assert saved[0] == saved[1] == saved[2]
    assert json.loads(saved[0])["padding"] is None
    assert json.loads(saved[0])["truncation"] is None
