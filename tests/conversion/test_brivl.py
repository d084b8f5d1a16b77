import os
import pickle
import re

import pytest
import torch
from helpers.brivl.golden import our_config, read_golden
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForPreTraining, AutoProcessor, AutoTokenizer, BertConfig, BertTokenizer
from typer.testing import CliRunner
from wenlan.conversion.brivl import build_config, check_folder, convert_brivl, load_tokenizer
from wenlan.modeling_brivl import BriVLConfig, BriVLModel
from wenlan.modeling_brivl.original_checkpoint import convert_tower

from wenlan import BriVLForPreTraining
from wenlan.cli.main import app

TENSORS, META = read_golden("boxes")
WHOLE = {key.removeprefix("ckpt."): tensor for key, tensor in TENSORS.items() if key.startswith("ckpt.")}
TOWERS = {key.removeprefix("learnable."): tensor for key, tensor in WHOLE.items() if key.startswith("learnable.")}
RELEASED = {"learnable": TOWERS}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"一张用来检查的图片"]
VOCABULARY += [f"[unused{i}]" for i in range(META["bert"]["vocab_size"] - len(VOCABULARY))]
# the golden README's tolerance for features; its own port reached 3e-7
TOLERANCE = {"atol": 1e-5, "rtol": 0}
FILES = {
    "released": (RELEASED, ".pth"),
    "released, several GPUs": ({"learnable": {f"module.{key}": tensor for key, tensor in TOWERS.items()}}, ".pth"),
    "whole model": (WHOLE, ".pth"),
    "whole model, several GPUs": ({f"module.{key}": tensor for key, tensor in WHOLE.items()}, ".pth"),
    "before PyTorch 1.6": (RELEASED, ".legacy.pth"),
    "safetensors": (WHOLE, ".safetensors"),
}


def write(checkpoint, path):
    if path.suffix == ".safetensors":
        save_file(checkpoint, path)
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=".legacy" not in path.suffixes)
    return path


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """What a user gives for a checkpoint of other sizes: config.json, and the folder of the vocabulary."""
    folder = tmp_path_factory.mktemp("sizes")
    (folder / "text").mkdir()
    (folder / "text" / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    our_config(META).to_json_file(folder / "config.json")
    return {"config_file": folder / "config.json", "text_folder": folder / "text"}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return write(RELEASED, tmp_path_factory.mktemp("released") / "brivl.pth")


@pytest.fixture(scope="module")
def converted(released, sizes, tmp_path_factory):
    return convert_brivl(released, tmp_path_factory.mktemp("converted") / "brivl", **sizes)


def golden_features(model, case):
    tensors, _ = read_golden(case)
    inputs = {"pixel_values": "pixel_values", "boxes": "boxes", "box_mask": "box_mask", "input_ids": "input_ids"}
    inputs["attention_mask"] = "token_mask"
    model.config.text_config.max_text_length = tensors["io.input_ids"].shape[1]  # what the example was padded to
    with torch.no_grad():
        return tensors, model(**{ours: tensors[f"io.{golden}"] for ours, golden in inputs.items()})


@pytest.mark.parametrize("layout", FILES)
def test_converted_folder_gives_the_golden_features(layout, sizes, tmp_path):
    checkpoint, suffix = FILES[layout]
    model = AutoModel.from_pretrained(
        convert_brivl(write(checkpoint, tmp_path / f"a{suffix}"), tmp_path / "b", **sizes)
    )
    assert type(model) is BriVLModel
    for case in ("boxes", "grid"):
        tensors, output = golden_features(model, case)
        torch.testing.assert_close(output.image_embeds, tensors["io.image_features"], **TOLERANCE)
        torch.testing.assert_close(output.text_embeds, tensors["io.text_features"], **TOLERANCE)


def test_folder_holds_model_processor_and_tokenizer_without_pickles(converted):
    names = {path.name for path in converted.iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= names
    assert {path.suffix for path in converted.iterdir()} == {".json", ".safetensors"}


def test_config_and_processor_are_faithful(converted):
    model, processor = AutoModel.from_pretrained(converted), AutoProcessor.from_pretrained(converted)
    assert model.config.text_config.attend_padding
    assert model.config.vision_config.stretch_boxes
    assert processor.pad_to_max_length
    assert processor.max_text_length == 16
    settings = processor.image_processor
    assert (settings.antialias, settings.max_regions, settings.size["height"]) == (False, 9, 104)
    assert list(settings.image_mean) == [0.485, 0.456, 0.406]
    assert list(settings.image_std) == [0.229, 0.224, 0.225]


def test_text_gets_the_same_embedding_in_any_batch(converted):
    model, processor = AutoModel.from_pretrained(converted), AutoProcessor.from_pretrained(converted)
    with torch.no_grad():
        alone = model(**processor(text=["图"], return_tensors="pt")).text_embeds
        together = model(**processor(text=["图", "一张图片"], return_tensors="pt")).text_embeds
    torch.testing.assert_close(together[:1], alone)


def test_summary_says_what_was_done_and_what_comes_next(released, sizes, tmp_path, capsys):
    convert_brivl(released, tmp_path / "out", **sizes)
    printed = capsys.readouterr().out
    assert f"{BriVLModel(our_config(META)).num_parameters():,} parameters" in printed
    assert "4 of BERT pooler, 2 of BERT position ids, 4 of CNN classifier" in printed
    assert f"wenlan zero-shot {tmp_path / 'out'}" in printed


def test_momentum_towers_and_queue_continue_where_the_original_stopped(sizes, tmp_path, capsys):
    path = write(WHOLE, tmp_path / "whole.pth")
    folder = convert_brivl(path, tmp_path / "out", **sizes, with_momentum=True)
    model = AutoModelForPreTraining.from_pretrained(folder)
    assert type(model) is BriVLForPreTraining
    tensors, output = golden_features(model, "boxes")
    torch.testing.assert_close(output.image_embeds, tensors["io.image_features"], **TOLERANCE)
    torch.testing.assert_close(output.image_keys, tensors["io.momentum_image_features"], **TOLERANCE)
    torch.testing.assert_close(output.text_keys, tensors["io.momentum_text_features"], **TOLERANCE)
    assert torch.equal(model.queue.image_keys, WHOLE["img_queue"].T)
    assert torch.equal(model.queue.text_keys, WHOLE["text_queue"].T)
    assert model.queue.position == WHOLE["img_queue_ptr"]
    # the golden momentum weights differ from the query weights everywhere, in the frozen part too
    assert not model.config.share_frozen_trunk
    assert "frozen trunks of query and momentum towers differ" in capsys.readouterr().out
    _, output = golden_features(AutoModel.from_pretrained(folder), "boxes")
    torch.testing.assert_close(output.image_embeds, tensors["io.image_features"], **TOLERANCE)


def test_frozen_trunk_that_both_towers_have_is_kept_once(sizes, tmp_path):
    same = {key: TOWERS[key.replace("_mom.", ".")] if ".backbone." in key else x for key, x in TOWERS.items()}
    path = write({"learnable": same}, tmp_path / "released.pth")
    model = BriVLForPreTraining.from_pretrained(convert_brivl(path, tmp_path / "out", **sizes, with_momentum=True))
    assert model.config.share_frozen_trunk
    assert "momentum_vision_model.backbone.conv_stem.weight" not in model.state_dict()
    _, output = golden_features(model, "boxes")
    prefix = "imgencoder_mom."
    tower = BriVLModel(our_config(META)).vision_model.eval()
    tower.load_state_dict(convert_tower({k.removeprefix(prefix): x for k, x in same.items() if k.startswith(prefix)}))
    with torch.no_grad():
        features = tower(*(TENSORS[f"io.{name}"] for name in ("pixel_values", "boxes", "box_mask"))).pooler_output
    torch.testing.assert_close(output.image_keys, F.normalize(features, dim=-1), **TOLERANCE)


def test_queue_that_the_file_lacks_starts_anew(released, sizes, tmp_path, capsys):
    folder = convert_brivl(released, tmp_path / "out", **sizes, with_momentum=True)
    assert BriVLForPreTraining.from_pretrained(folder).queue.position == 0
    assert "not in the checkpoint, starts anew" in capsys.readouterr().out


class RunsCode:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


PICKLES = {
    "torch.save": lambda value, file: torch.save(value, file),
    "torch.save before 1.6": lambda value, file: torch.save(value, file, _use_new_zipfile_serialization=False),
    "pickle": lambda value, file: pickle.dump(value, file, protocol=2),
    "pickle, new": lambda value, file: pickle.dump(value, file),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", PICKLES)
def test_pickle_that_holds_code_is_refused_and_not_run(kind, sizes, tmp_path):
    trace = tmp_path / "code_ran"
    with (tmp_path / "evil.pth").open("wb") as file:
        PICKLES[kind]({**RELEASED, "note": RunsCode(trace)}, file)
    with pytest.raises(ValueError, match=r"evil\.pth .*nothing of it was run") as error:
        convert_brivl(tmp_path / "evil.pth", tmp_path / "out", **sizes)
    assert "\n" not in str(error.value)
    assert not trace.exists()
    assert not (tmp_path / "out").exists()
    # else the lines above would show nothing
    RunsCode(trace).__reduce__()[0](*RunsCode(trace).__reduce__()[1])
    assert trace.exists()


def test_refusal_names_the_code(sizes, tmp_path):
    torch.save({"note": RunsCode(tmp_path / "code_ran")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"refers to posix\.system"):
        convert_brivl(tmp_path / "evil.pth", tmp_path / "out", **sizes)


@pytest.mark.parametrize("suffix", [".pth", ".legacy.pth", ".safetensors"])
@pytest.mark.parametrize("fraction", [0, 0.5, 0.99])
def test_cut_file_is_refused_in_one_line(suffix, fraction, sizes, tmp_path):
    path = write(WHOLE, tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"cut{suffix} is no readable checkpoint") as error:
        convert_brivl(path, tmp_path / "out", **sizes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"no checkpoint\n" * 9, b"PK\x03\x04", b"\x80\x02}q\x00.", bytes(range(256)) * 9])
def test_something_else_is_refused(content, sizes, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth"):
        convert_brivl(tmp_path / "a.pth", tmp_path / "out", **sizes)


def test_file_without_a_state_dict_is_refused(sizes, tmp_path):
    with pytest.raises(ValueError, match="holds a Tensor"):
        convert_brivl(write(torch.zeros(2), tmp_path / "a.pth"), tmp_path / "out", **sizes)


def test_damaged_weights_fail_the_check_and_leave_nothing(sizes, tmp_path):
    state = {**TOWERS, "imgencoder.learnable.imgFC.fc2.bias": torch.full((32,), float("nan"))}
    path = write({"learnable": state}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="image_embeds of a made-up pair are no finite unit vectors"):
        convert_brivl(path, tmp_path / "out", **sizes)
    assert [child.name for child in tmp_path.iterdir()] == ["a.pth"]


def test_check_notices_that_the_folder_holds_other_weights(converted):
    model, processor = AutoModel.from_pretrained(converted), AutoProcessor.from_pretrained(converted)
    check_folder(converted, model, processor)
    with torch.no_grad():
        model.text_model.encoder.fc2.bias += 1
    with pytest.raises(ValueError, match="text_embeds of a made-up pair differ"):
        check_folder(converted, model, processor)


def test_misfits_are_all_named_with_the_file(sizes, tmp_path):
    state = {key: tensor for key, tensor in TOWERS.items() if not key.startswith("imgencoder.learnable.imgFC.fc1")}
    path = write({"learnable": {**state, "imgencoder.extra": torch.zeros(3)}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: .*\n.*extra.*\n.*fc1\.weight\n.*fc1\.bias"):
        convert_brivl(path, tmp_path / "out", **sizes)


def test_folder_that_holds_something_is_not_touched(released, sizes, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        convert_brivl(released, tmp_path, **sizes)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_vocabulary_of_another_encoder_is_refused(released, sizes, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]), "utf-8")
    with pytest.raises(ValueError, match="has 119 tokens, the encoder 120"):
        convert_brivl(released, tmp_path / "out", **{**sizes, "text_folder": tmp_path})


def test_folder_without_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"vocab\.txt or tokenizer\.json"):
        load_tokenizer(tmp_path, 120)


def test_unreachable_hub_asks_for_the_folder():
    with pytest.raises(OSError, match="pass --text-config"):
        load_tokenizer(None, 21128)


def test_saved_tokenizer_is_read_as_well_as_a_vocabulary(sizes, tmp_path):
    BertTokenizer.from_pretrained(sizes["text_folder"]).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, 120)
    assert tokenizer("一张X").input_ids == [2, 5, 6, 1, 3]


@pytest.mark.parametrize("variant", ["1.0", "nmi"])
def test_variant_gives_the_published_configuration(variant):
    config = build_config(variant, None, None, with_momentum=False)
    assert config.to_dict() == BriVLConfig.from_variant(variant).to_dict()


def test_variant_to_continue_training_from_freezes_what_the_original_freezes():
    config = build_config("nmi", None, None, with_momentum=True)
    assert config.vision_config.trainable_backbone == ["blocks.3", "blocks.4", "blocks.5", "blocks.6"]
    assert config.text_config.trainable_backbone == ["layer.8", "layer.9", "layer.10", "layer.11"]


def test_text_encoder_configuration_of_the_folder_counts(tmp_path):
    BertConfig(vocab_size=33, hidden_size=48, num_attention_heads=4).save_pretrained(tmp_path)
    config = build_config("nmi", None, tmp_path, with_momentum=False)
    assert (config.text_config.encoder_config.vocab_size, config.text_config.hidden_size) == (33, 48)


def test_configuration_of_another_model_is_refused(converted, tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json is no configuration of a brivl model"):
        build_config(None, tmp_path / "config.json", None, with_momentum=False)
    with pytest.raises(ValueError, match=r"config\.json is no configuration of a bert model"):
        build_config("nmi", None, converted, with_momentum=False)


@pytest.mark.parametrize("sources", [(None, None), ("nmi", "config.json")])
def test_one_source_of_the_configuration_is_needed(sources):
    with pytest.raises(ValueError, match="either --variant"):
        build_config(*sources, None, with_momentum=False)


def test_variant_without_released_weights_is_refused():
    with pytest.raises(ValueError, match=r"released weights of 1\.0 and nmi, not of '2\.0'"):
        build_config("2.0", None, None, with_momentum=False)


def command(checkpoint, output, sizes):
    options = ["--config", str(sizes["config_file"]), "--text-config", str(sizes["text_folder"])]
    return CliRunner().invoke(
        app, ["convert", "brivl", "--checkpoint", str(checkpoint), "--output", str(output), *options]
    )


def test_command_writes_a_folder_that_embeds_a_image(released, sizes, tmp_path):
    result = command(released, tmp_path / "out", sizes)
    assert result.exit_code == 0, result.output
    model, processor = (auto.from_pretrained(tmp_path / "out") for auto in (AutoModel, AutoProcessor))
    with torch.no_grad():
        output = model(**processor(images=Image.new("RGB", (30, 20), "red"), text="一张图片", return_tensors="pt"))
    assert output.logits_per_image.shape == (1, 1)


def test_command_refuses_code_in_one_line_and_does_not_run_it(sizes, tmp_path):
    torch.save({**RELEASED, "note": RunsCode(tmp_path / "code_ran")}, tmp_path / "evil.pth")
    result = command(tmp_path / "evil.pth", tmp_path / "out", sizes)
    assert result.exit_code == 1
    assert "refers to posix.system" in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"evil.pth"}


def test_command_names_a_missing_file_in_one_line(sizes, tmp_path):
    result = command(tmp_path / "no.pth", tmp_path / "out", sizes)
    assert (result.exit_code, result.output) == (1, f"Error: No such checkpoint file: {tmp_path / 'no.pth'}\n")


@pytest.mark.parametrize("length", [3, 12])
def test_text_length_is_the_same_in_model_processor_and_tokenizer(length, released, sizes, tmp_path):
    convert_brivl(released, tmp_path / "out", max_text_length=length, **sizes)
    model, processor = AutoModel.from_pretrained(tmp_path / "out"), AutoProcessor.from_pretrained(tmp_path / "out")
    assert model.config.text_config.max_text_length == processor.max_text_length == length
    assert processor.tokenizer.model_max_length == length
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == length
    assert processor(text=["图", "一张用来检查的图片" * 2], return_tensors="pt").input_ids.shape == (2, length)
    if length == 12:  # what the golden texts of the grid were padded to
        tensors, output = golden_features(model, "grid")
        torch.testing.assert_close(output.text_embeds, tensors["io.text_features"], **TOLERANCE)


def test_text_length_without_an_option_is_that_of_the_configuration(converted):
    assert AutoTokenizer.from_pretrained(converted).model_max_length == 16


@pytest.mark.parametrize("length", [0, 2, 65, -5])
def test_text_length_that_cannot_be_is_refused_in_one_line(length, released, sizes, tmp_path):
    options = ["--config", sizes["config_file"], "--text-config", sizes["text_folder"], "--max-text-length", length]
    arguments = ["convert", "brivl", "--checkpoint", released, "--output", tmp_path / "out", *options]
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 1
    assert re.search(rf"max_text_length (must be in 2\.\.64 .*got|is) {length}", result.output)
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
