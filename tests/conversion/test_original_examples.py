"""The authors' published features against a converted folder: a made-up clone of their repository, a tiny model."""

import re
import shutil

import numpy as np
import pytest
import torch
from helpers.brivl.golden import our_config, read_golden
from helpers.brivl.original_repository import CAPTIONS, write_repository
from helpers.paths import FIXTURES
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor
from typer.testing import CliRunner
from wenlan.conversion.brivl import convert_brivl
from wenlan.conversion.original_examples import check_examples, read_examples

from wenlan.cli.main import app

TENSORS, META = read_golden("boxes")
TOWERS = {key.removeprefix("ckpt.learnable."): x for key, x in TENSORS.items() if key.startswith("ckpt.learnable.")}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"一张用来检查的图片"]
VOCABULARY += [f"[unused{i}]" for i in range(META["bert"]["vocab_size"] - len(VOCABULARY))]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    torch.save({"learnable": TOWERS}, folder / "a.pth")
    (folder / "text").mkdir()
    (folder / "text" / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    our_config(META).to_json_file(folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def converted(sizes):
    options = {"config_file": sizes / "config.json", "text_folder": sizes / "text"}
    return convert_brivl(sizes / "a.pth", sizes / "converted", **options)


def run(sizes, output, repository, *options):
    arguments = ["--checkpoint", sizes / "a.pth", "--config", sizes / "config.json", "--text-config", sizes / "text"]
    arguments += ["--output", output, "--check-examples", repository, *options]
    return CliRunner().invoke(app, ["convert", "brivl", *map(str, arguments)])


@pytest.mark.parametrize("code", ["BriVL-code-inference", "BriVL-1.0/BriVL-code-inference", "."])
def test_features_of_the_same_model_pass(code, sizes, converted, tmp_path):
    write_repository(tmp_path / "BriVL", converted, code=code)
    result = run(sizes, tmp_path / "out", tmp_path / "BriVL")
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines() if "antialias" in line]
    assert lines[0] == "antialias false: images 1.000000, texts 1.000000: pass"
    assert re.fullmatch(r"antialias true : images 0\.\d+, texts 1\.000000: fail", lines[1])
    assert f"Pass: {tmp_path / 'out'} computes what the authors computed." in result.output


def test_features_of_another_resizing_name_the_setting(sizes, converted, tmp_path):
    write_repository(tmp_path / "BriVL", converted, antialias=True)
    result = run(sizes, tmp_path / "out", tmp_path / "BriVL")
    assert result.exit_code == 0, result.output
    assert "Pass with antialias true" in result.output
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert "processor_config.json" in result.output
    assert not processor.image_processor.antialias
    processor.image_processor.antialias = True
    processor.save_pretrained(tmp_path / "out")
    check_examples(tmp_path / "out", read_examples(tmp_path / "BriVL"))


def write_other(repository, converted, changed):
    model = AutoModel.from_pretrained(converted)
    with torch.no_grad():
        for name in changed:
            getattr(model, name).encoder.fc2.weight.mul_(-1)
    model.save_pretrained(repository / "other")
    AutoProcessor.from_pretrained(converted).save_pretrained(repository / "other")
    return write_repository(repository / "BriVL", repository / "other")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["vision_model", "text_model"], "these are not the weights of BriVL-1.0-5500w"),
        (["vision_model"], "The texts agree, the images do not"),
        (["text_model"], "check --text-config and --max-text-length"),
    ],
)
def test_features_of_another_model_fail_and_keep_the_folder(changed, message, sizes, converted, tmp_path):
    result = run(sizes, tmp_path / "out", write_other(tmp_path, converted, changed))
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count(": fail") == 2
    assert "Traceback" not in result.output
    assert AutoModel.from_pretrained(tmp_path / "out") is not None


def test_texts_of_another_length_fail(sizes, converted, tmp_path):
    write_repository(tmp_path / "BriVL", converted)
    result = run(sizes, tmp_path / "out", tmp_path / "BriVL", "--max-text-length", "12")
    assert result.exit_code == 1
    assert "The images agree, the texts do not" in result.output


def test_features_that_are_no_numbers_fail(sizes, converted, tmp_path):
    repository = write_repository(tmp_path / "BriVL", converted)
    np.save(next(repository.rglob("np_img.npy")), np.full((3, 32), np.nan, np.float32))
    assert run(sizes, tmp_path / "out", repository).exit_code == 1


DAMAGES = {
    "no clone": (lambda root: shutil.rmtree(root), r"needs a clone of github\.com/BAAI-WuDao/BriVL"),
    "no features": (lambda root: next(root.rglob("np_img.npy")).unlink(), r"np_img\.npy is missing"),
    "no image": (lambda root: next(root.rglob("baike_2.png")).unlink(), r"baike_2\.png is missing"),
    "other rows": (lambda root: np.save(next(root.rglob("np_text.npy")), np.ones((2, 32))), "not 3 rows of features"),
    "objects": (lambda root: np.save(next(root.rglob("np_text.npy")), np.array([{}, {}, {}])), "is pickled"),
    "no JSON": (lambda root: next(root.rglob("example.jsonl")).write_text("{"), "not as the authors published it"),
    "other JSON": (
        lambda root: next(root.rglob("example.jsonl")).write_text('{"a": 1}'),
        "not as the authors published",
    ),
    "nothing": (lambda root: next(root.rglob("example.jsonl")).write_text(""), "not 0 rows of features"),
    "pointer": (lambda root: next(root.rglob("np_img.npy")).write_text("version https://git-lfs"), r"np_img\.npy"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_clone_that_is_none_is_refused_before_anything_is_written(kind, sizes, converted, tmp_path):
    damage, message = DAMAGES[kind]
    damage(write_repository(tmp_path / "BriVL", converted))
    result = run(sizes, tmp_path / "out", tmp_path / "BriVL")
    assert result.exit_code == 1
    assert re.search(message, result.output), result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_features_of_another_width_are_refused(sizes, converted, tmp_path):
    repository = write_repository(tmp_path / "BriVL", converted)
    for name in ("np_img.npy", "np_text.npy"):
        shutil.copy(FIXTURES / "brivl" / "released_1.0" / name, next(repository.rglob(name)))
    result = run(sizes, tmp_path / "out", repository)
    assert "have features of 2048 numbers, the model in" in result.output
    assert result.exit_code == 1


def test_examples_are_for_the_model_with_boxes(converted, tmp_path):
    with pytest.raises(ValueError, match=r"--check-examples is for 1\.0"):
        convert_brivl(tmp_path / "a.pth", tmp_path / "out", variant="nmi", examples_repository=tmp_path)


def test_published_features_are_read_as_they_are(converted, tmp_path):
    repository = write_repository(tmp_path / "BriVL", converted)
    for name in ("np_img.npy", "np_text.npy"):
        shutil.copy(FIXTURES / "brivl" / "released_1.0" / name, next(repository.rglob(name)))
    examples = read_examples(repository)
    assert [len(boxes) for boxes in examples.boxes] == [100, 100, 100]
    assert examples.texts == CAPTIONS
    for features in (examples.image_features, examples.text_features):
        assert features.shape == (3, 2048)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    cosines = F.cosine_similarity(examples.image_features, examples.text_features)
    torch.testing.assert_close(cosines, torch.tensor([0.61, 0.82, 0.74]), atol=0.01, rtol=0)
