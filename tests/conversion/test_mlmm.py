"""Checkpoints of UC2, UNITER and XLM-R to folders."""

import json
import pickle

import pytest
import torch
from helpers.mlmm.folder import noise_image, write_detector
from helpers.mlmm.golden import Golden
from helpers.mlmm.golden_files import golden_tokenizer, write_golden
from helpers.regions.tiny_detector import tiny_detector
from safetensors.torch import save_file
from transformers import (
    AutoModelForPreTraining,
    AutoProcessor,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
    pipeline,
)
from typer.testing import CliRunner
from wenlan.conversion.mlmm import build_config, check_folder, choose_head, convert_mlmm, read_answers, read_overrides
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)
from wenlan.processing import load_small_tokenizer

from wenlan.cli.main import app

ANSWERS = [f"answer {index}" for index in range(37)]
FOLDER = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}


def convert(folder, case="uc2_tiny", *parts, **options):
    checkpoint = write_golden(folder, case, *parts)
    options = {"tokenizer": folder / "tokenizer", "config_file": folder / "sizes.json"} | options
    return convert_mlmm(checkpoint, folder / "out", **options)


def write_answers(folder):
    path = folder / "ans2label.json"
    path.write_text(json.dumps({answer: index for index, answer in enumerate(ANSWERS)}), "utf-8")
    return path


@torch.no_grad()
def run(model, golden, task):
    batch = golden.batch(task)
    return model.eval()(**batch), batch


@pytest.mark.parametrize("case", ["uc2_tiny", "uniter_tiny"])
def test_pretraining_folder_opens_by_itself_and_gives_the_golden_states(case, tmp_path):
    folder, golden = convert(tmp_path, case), Golden(case)
    assert {path.name for path in folder.iterdir()} == FOLDER
    model = AutoModelForPreTraining.from_pretrained(folder)
    assert type(model) is MLMMForPreTraining
    output, _ = run(model, golden, "plain")
    torch.testing.assert_close(output.itm_logits, golden.outputs["plain/itm_logits"], atol=1e-5, rtol=1e-5)
    assert len(AutoProcessor.from_pretrained(folder).tokenizer) == golden.meta["config"]["vocab_size"]


def test_question_answering_folder_gives_the_golden_scores_under_their_names(tmp_path):
    folder, golden = convert(tmp_path, "uc2_tiny", "vqa", answers_file=write_answers(tmp_path)), Golden("uc2_tiny")
    model = MLMMForVisualQuestionAnswering.from_pretrained(folder)
    output, _ = run(model, golden, "vqa")
    torch.testing.assert_close(output.logits, golden.outputs["vqa/logits"], atol=1e-5, rtol=1e-5)
    assert model.config.id2label == dict(enumerate(ANSWERS))


def test_retrieval_folder_gives_the_golden_scores(tmp_path):
    folder, golden = convert(tmp_path, "uniter_tiny", "retrieval"), Golden("uniter_tiny")
    model = MLMMForImageTextRetrieval.from_pretrained(folder)
    output, _ = run(model, golden, "rank")
    torch.testing.assert_close(output.scores, golden.outputs["rank/scores"][:, 0], atol=1e-5, rtol=1e-5)


def test_plain_xlm_r_becomes_a_start_that_fills_masks_as_before(tmp_path):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    tokenizer = load_small_tokenizer()
    original = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=66, **sizes))
    original.eval().save_pretrained(tmp_path / "xlm-r")
    tokenizer.save_pretrained(tmp_path / "xlm-r")
    (tmp_path / "ours.json").write_text('{"region_feature_dim": 8}')
    folder = convert_mlmm(
        tmp_path / "xlm-r" / "model.safetensors",
        tmp_path / "out",
        layout="xlm-r",
        tokenizer=tmp_path / "xlm-r",
        config_file=tmp_path / "ours.json",
    )
    inputs = tokenizer("a red key", return_tensors="pt")
    with torch.no_grad():
        expected = original(**inputs).logits
        ours = MLMMForMaskedLM.from_pretrained(folder).eval()
        torch.testing.assert_close(ours(**inputs).logits, expected)
    assert (ours.config.region_feature_dim, ours.config.num_attention_heads) == (8, 3)


def test_what_starts_new_is_the_same_every_time(tmp_path):
    weights = {name: tensor for name, tensor in Golden("uc2_tiny").checkpoint("pretrain").items() if "itm" not in name}
    write_golden(tmp_path, "uc2_tiny")
    save_file({name: tensor.clone() for name, tensor in weights.items()}, tmp_path / "a.safetensors")
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
        folder = convert_mlmm(tmp_path / "a.safetensors", tmp_path / f"out{seed}", **options)
        states.append(MLMMForPreTraining.from_pretrained(folder).itm_head.weight)
    assert torch.equal(*states)
    assert states[0].std() > 0


def test_summary_names_what_is_new_and_what_was_left_out(tmp_path, capsys):
    weights = Golden("uc2_tiny").checkpoint("pretrain")
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("itm_output")}
    write_golden(tmp_path, "uc2_tiny")
    torch.save({"model": weights | {"strange.weight": torch.ones(1)}}, tmp_path / "a.pt")
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    convert_mlmm(tmp_path / "a.pt", tmp_path / "out", **options)
    printed = capsys.readouterr().out
    assert "Starts new, not in the checkpoint: itm_head.weight, itm_head.bias." in printed
    assert "Left out, of no part of MLMM: strange.weight." in printed
    assert f"init_from: {tmp_path / 'out'}" in printed
    convert_mlmm(tmp_path / "a.pt", tmp_path / "tower", head="none", **options)
    printed = capsys.readouterr().out
    assert "feat_regress.bias" in printed.split("heads that this model has not: ")[1]
    assert type(MLMMModel.from_pretrained(tmp_path / "tower")) is MLMMModel


def test_detector_in_the_folder_makes_it_answer_questions_about_images(tmp_path):
    detector, width = write_detector(tmp_path / "detector"), tiny_detector().config.feature_dim
    golden = Golden("uc2_tiny")
    weights, name = golden.checkpoint("pretrain", "vqa"), "img_embeddings.img_linear.weight"
    cut = {
        key: tensor[..., :width].clone()
        for key, tensor in weights.items()
        if key.endswith((name, "feat_regress.weight", "mask_embedding.weight"))
    }
    cut["feat_regress.bias"] = weights["feat_regress.bias"][:width].clone()
    cut["feat_regress.weight"] = cut[f"roberta.{name}"]
    write_golden(tmp_path, "uc2_tiny")
    torch.save(weights | cut, tmp_path / "a.pt")
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    options |= {"answers_file": write_answers(tmp_path), "detector": str(detector)}
    folder = convert_mlmm(tmp_path / "a.pt", tmp_path / "out", **options)
    detector.rename(tmp_path / "elsewhere")
    answers = pipeline("wenlan-vqa", model=str(folder), device="cpu")(image=noise_image(), question="a b c", top_k=2)
    assert {one["answer"] for one in answers} <= set(ANSWERS)


def test_detector_of_another_width_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"gives features of 16 numbers, the checkpoint reads 128"):
        convert(tmp_path, detector=str(write_detector(tmp_path / "detector")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "head"),
    [
        (["vqa_output.0.weight", "itm_output.weight"], "vqa"),
        (["itm_output.weight", "module.rank_output.weight"], "retrieval"),
        (["itm_output.weight", "cls.bias"], "pretraining"),
    ],
)
def test_head_is_the_one_that_was_trained_last(keys, head):
    assert choose_head(dict.fromkeys(keys), None) == head


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"no": 1, "yes": 0, "2": 2}'),
        ("a.json", '["yes", "no", "2"]'),
        ("a.txt", "yes\nno\n2\n"),
    ],
)
def test_answers_are_read_in_the_order_of_their_ids(name, text, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    assert read_answers(tmp_path / name, 3) == ["yes", "no", "2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"yes": 0, "no": 2}', "not 0 to 1, each once"),
        ("a.json", b'{"yes": 0, "no": 0}', "not 0 to 1, each once"),
        ("a.json", b'["yes"', "(cannot be read|is no JSON)"),
        ("a.txt", "猫\n狗".encode("gb18030"), "is not UTF-8"),
        ("a.txt", b"yes\nno\nred", "has 3 answers, the checkpoint 2"),
        ("a.txt", b"yes\nyes", "'yes' is empty or there more than once"),
        ("a.txt", b"yes\n \n", "'' is empty or there more than once"),
    ],
)
def test_answers_that_do_not_fit_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_answers(tmp_path / name, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "no configuration of an MLMM"),
        ('{"model_type": "bert"}', "no configuration of an MLMM"),
        ('{"num_heads": 3}', "has not: num_heads"),
    ],
)
def test_configuration_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_overrides(tmp_path / "a.json")


def test_check_notices_that_the_folder_holds_other_weights(tmp_path):
    folder = convert(tmp_path)
    model = MLMMForPreTraining.from_pretrained(folder)
    check_folder(folder, model)
    with torch.no_grad():
        model.itm_head.bias += 1
    with pytest.raises(ValueError, match=r"itm_head\.bias differs"):
        check_folder(folder, model)


def test_damaged_weights_are_named_and_leave_nothing(tmp_path):
    weights = Golden("uc2_tiny").checkpoint("pretrain")
    weights["itm_output.bias"][0] = float("nan")
    write_golden(tmp_path, "uc2_tiny")
    torch.save(weights, tmp_path / "uc2_tiny.pt")
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    with pytest.raises(ValueError, match=r"damaged: not all numbers of itm_head\.bias"):
        convert_mlmm(tmp_path / "uc2_tiny.pt", tmp_path / "out", **options)
    assert {path.name for path in tmp_path.iterdir()} == {"uc2_tiny.pt", "tokenizer", "sizes.json"}


def test_tokenizer_with_another_padding_is_refused(tmp_path):
    write_golden(tmp_path, "uc2_tiny")
    golden_tokenizer(Golden("uniter_tiny")).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="pads with the id 0, the checkpoint with 1: give the one"):
        convert(tmp_path, tokenizer=tmp_path / "bert")


class Runs:
    def __reduce__(self):
        return (print, ("it ran",))


def test_pickle_that_runs_code_is_refused_and_not_run(tmp_path, capsys):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"x": Runs()}))
    with pytest.raises(ValueError, match=r"no readable checkpoint|could run code"):
        convert_mlmm(tmp_path / "a.pt", tmp_path / "out")
    assert "it ran" not in capsys.readouterr().out


def test_command_converts(tmp_path):
    checkpoint = write_golden(tmp_path, "uc2_tiny")
    arguments = ["--checkpoint", checkpoint, "--layout", "uc2", "--output", tmp_path / "out"]
    arguments += ["--tokenizer", tmp_path / "tokenizer", "--config", tmp_path / "sizes.json"]
    result = CliRunner().invoke(app, ["convert", "mlmm", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "MLMMForPreTraining of " in result.output
    assert MLMMForPreTraining.from_pretrained(tmp_path / "out").config.num_attention_heads == 4


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ((), ["--layout", "uniter"], "it has the layout uc2, by its keys, not uniter"),
        ((), ["--layout", "vilbert"], "There is no layout 'vilbert'"),
        ((), ["--head", "captions"], "There is no head 'captions'"),
        ((), ["--head", "vqa"], "has no vqa_output"),
        (("vqa",), [], "37 numbers; --answers FILE"),
        ((), ["--tokenizer", "no/such/folder"], "No tokenizer could be loaded from no/such/folder"),
        ((), ["--config", "no.json"], "No such configuration file: no.json"),
        ((), ["--checkpoint", "no.pt"], "No such checkpoint file: no.pt"),
    ],
)
def test_command_says_what_is_wrong_and_writes_nothing(parts, options, message, tmp_path):
    checkpoint = write_golden(tmp_path, "uc2_tiny", *parts)
    before = {path.name for path in tmp_path.iterdir()}
    arguments = [
        "--checkpoint",
        checkpoint,
        "--output",
        tmp_path / "out",
        "--tokenizer",
        tmp_path / "tokenizer",
        *options,
    ]
    result = CliRunner().invoke(app, ["convert", "mlmm", *map(str, arguments), *options])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert {path.name for path in tmp_path.iterdir()} == before


def without_last_layer(weights):
    last = max(int(name.split(".layer.")[1].split(".")[0]) for name in weights if ".layer." in name)
    return {name: tensor for name, tensor in weights.items() if f".layer.{last}." not in name}


def test_missing_last_layer_is_refused_where_the_number_of_layers_is_given(tmp_path):
    checkpoint = write_golden(tmp_path, "uc2_tiny")
    torch.save(without_last_layer(Golden("uc2_tiny").checkpoint("pretrain")), checkpoint)
    (tmp_path / "sizes.json").write_text('{"num_attention_heads": 4, "num_hidden_layers": 2}')
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    with pytest.raises(ValueError, match=r"missing: mlmm\.encoder\.layer\.1\.attention"):
        convert_mlmm(checkpoint, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("width", "published"), [(768, 12), (1024, 24)])
def test_missing_last_layer_of_a_published_width_is_refused(width, published):
    tokenizer = golden_tokenizer(Golden("uc2_tiny"))
    sizes = {"hidden_size": width, "num_hidden_layers": published, "num_attention_heads": 16, "intermediate_size": 8}
    with torch.device("meta"):
        original = XLMRobertaModel(XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=20, **sizes))
    weights = {f"roberta.{name}": tensor for name, tensor in original.state_dict().items()}
    assert build_config(weights, tokenizer, {}, None).num_attention_heads == width // 64
    cut = without_last_layer(weights)
    with pytest.raises(ValueError, match=f"it has {published - 1} layers, models of width {width} have {published}"):
        build_config(cut, tokenizer, {}, None)
    assert build_config(cut, tokenizer, {"num_hidden_layers": published - 1}, None).num_hidden_layers == published - 1


def test_number_of_heads_is_asked_for_where_no_one_knows_it(tmp_path):
    with pytest.raises(ValueError, match=r"at a width of 64: give --config FILE with \{\"num_attention_heads\": N\}"):
        convert(tmp_path, config_file=None)
    assert not (tmp_path / "out").exists()


def test_summary_names_layers_heads_and_copies_that_differ(tmp_path, capsys):
    weights = Golden("uc2_tiny").checkpoint("pretrain")
    checkpoint = write_golden(tmp_path, "uc2_tiny")
    torch.save({**weights, "feat_regress.weight": weights["feat_regress.weight"] + 2e-4}, checkpoint)
    options = {"tokenizer": tmp_path / "tokenizer", "config_file": tmp_path / "sizes.json"}
    convert_mlmm(checkpoint, tmp_path / "out", **options)
    printed = capsys.readouterr().out
    assert "2 layers of 4 attention heads" in printed
    assert "copies that differ from their weight: feat_regress.weight (by 2.0e-04)." in printed
