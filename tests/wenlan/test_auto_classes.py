"""A saved folder opens through transformers' Auto classes and pipelines."""

import numpy as np
import pytest
import torch
from helpers.brivl.tiny import TINY_BERT, tiny_config
from helpers.perturb import perturb
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    BertTokenizer,
    pipeline,
)
from wenlan.modeling_brivl import BriVLConfig, BriVLForPreTraining, BriVLModel, BriVLTextModel, BriVLVisionModel
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, build_character_tokenizer

import wenlan  # noqa: F401  makes the Auto classes know BriVL

LABELS = ["红色的苹果", "一只猫", "雪山和湖"]
SIZE = 64
LENGTH = 9


@pytest.fixture(scope="module")
def model():
    tokenizer = build_character_tokenizer(LABELS, max_length=LENGTH)
    encoder = {**TINY_BERT, "vocab_size": len(tokenizer)}
    config = tiny_config({"image_size": SIZE}, {"encoder_config": encoder, "max_text_length": LENGTH})
    return perturb(BriVLModel(config))


@pytest.fixture(scope="module")
def processor():
    tokenizer = build_character_tokenizer(LABELS, max_length=LENGTH)
    return BriVLProcessor(BriVLImageProcessor(size=SIZE), tokenizer, max_text_length=LENGTH)


@pytest.fixture(scope="module")
def folder(model, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("brivl")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    sizes = [(50, 70), (64, 64), (31, 90), (120, 40), (7, 7)]
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def same_weights(first, second):
    second = second.state_dict()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.state_dict().items())


def test_auto_config_opens_the_folder(folder, model):
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is BriVLConfig
    assert config.text_config.to_dict() == model.config.text_config.to_dict()


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForZeroShotImageClassification])
def test_auto_model_opens_the_folder(folder, model, auto_class):
    loaded = auto_class.from_pretrained(folder)
    assert type(loaded) is BriVLModel
    assert same_weights(model, loaded)


def test_auto_model_for_pre_training_opens_the_folder(folder, model):
    loaded = AutoModelForPreTraining.from_pretrained(folder)
    assert type(loaded) is BriVLForPreTraining
    assert same_weights(model, loaded.brivl)


def test_auto_model_for_pre_training_freezes_the_momentum_towers(folder):
    loaded = AutoModelForPreTraining.from_pretrained(folder)
    trainable = {name.split(".")[0] for name, p in loaded.named_parameters() if p.requires_grad}
    assert trainable == {"brivl"}


@pytest.mark.parametrize(("name", "tower"), [("text_model", BriVLTextModel), ("vision_model", BriVLVisionModel)])
def test_auto_model_opens_a_single_tower(model, tmp_path, name, tower):
    part = getattr(model, name)
    part.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is tower
    assert same_weights(part, loaded)


def test_auto_processor_opens_the_folder(folder, processor, images):
    loaded = AutoProcessor.from_pretrained(folder)
    assert type(loaded) is BriVLProcessor
    assert loaded.max_text_length == LENGTH
    expected = processor(images=images, text=LABELS, return_tensors="pt")
    actual = loaded(images=images, text=LABELS, return_tensors="pt")
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_auto_image_processor_opens_the_folder(folder, processor, images):
    loaded = AutoImageProcessor.from_pretrained(folder)
    assert type(loaded) is BriVLImageProcessor
    expected = processor.image_processor(images, return_tensors="pt").pixel_values
    assert torch.equal(loaded(images, return_tensors="pt").pixel_values, expected)


def test_auto_tokenizer_opens_the_folder(folder, processor):
    loaded = AutoTokenizer.from_pretrained(folder)
    assert isinstance(loaded, BertTokenizer)
    assert loaded(LABELS).input_ids == processor.tokenizer(LABELS).input_ids
    assert loaded.unk_token_id not in loaded(LABELS[0]).input_ids


def test_auto_models_from_a_configuration_are_random_but_whole(model):
    assert type(AutoModel.from_config(model.config)) is BriVLModel
    assert type(AutoModelForPreTraining.from_config(model.config)) is BriVLForPreTraining


# --- pipelines


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline("zero-shot-image-classification", model=str(folder))


def classes(classify, images, labels=LABELS):
    return classify(images, candidate_labels=labels, hypothesis_template="{}")


def test_zero_shot_pipeline_ranks_the_labels_by_the_logits(classify, model, processor, images):
    inputs = processor(images=images, text=LABELS, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits_per_image
    order = logits.argsort(dim=1, descending=True).tolist()
    results = classes(classify, images)
    assert [[LABELS.index(entry["label"]) for entry in result] for result in results] == order


def test_zero_shot_pipeline_gives_every_image_the_softmax_of_its_logits(classify, model, processor, images):
    inputs = processor(images=images, text=LABELS, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits_per_image.softmax(dim=1)
    assert torch.pdist(expected).min() > 1e-4
    scores = [{entry["label"]: entry["score"] for entry in result} for result in classes(classify, images)]
    actual = torch.tensor([[row[label] for label in LABELS] for row in scores])
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_zero_shot_pipeline_gives_the_same_for_a_batch_as_one_by_one(classify, images):
    together = classify(images, candidate_labels=LABELS, hypothesis_template="{}", batch_size=2)
    for result, image in zip(together, images, strict=True):
        scores = {entry["label"]: entry["score"] for entry in classes(classify, image)}
        assert {entry["label"]: entry["score"] for entry in result} == pytest.approx(scores, abs=1e-5)


def test_zero_shot_pipeline_cuts_a_label_that_is_too_long(classify, images):
    long = "苹果" * 20
    result = classes(classify, images[0], [long, "猫"])
    assert {entry["label"] for entry in result} == {long, "猫"}
    assert sum(entry["score"] for entry in result) == pytest.approx(1, abs=1e-5)


def test_zero_shot_pipeline_takes_a_single_label(classify, images):
    (entry,) = classes(classify, images[0], ["一只猫"])
    assert entry["score"] == pytest.approx(1)


def test_feature_extraction_pipeline_gives_the_text_embedding(folder, model, processor):
    extract = pipeline("feature-extraction", model=str(folder))
    with torch.no_grad():
        expected = model(**processor(text=LABELS, return_tensors="pt")).text_embeds
    torch.testing.assert_close(torch.tensor(extract(LABELS)).squeeze(1), expected, atol=1e-5, rtol=0)


def test_image_feature_extraction_pipeline_gives_the_image_embedding(folder, model, processor, images):
    extract = pipeline("image-feature-extraction", model=str(folder))
    with torch.no_grad():
        expected = model(**processor(images=images, return_tensors="pt")).image_embeds
    torch.testing.assert_close(torch.tensor(extract(images)).squeeze(1), expected, atol=1e-5, rtol=0)
