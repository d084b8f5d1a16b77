import json

import pytest
from helpers.finetuning.caption_files import write_coco, write_coco_cn, write_karpathy, write_multi30k
from typer.testing import CliRunner

from wenlan.cli.main import app

run = CliRunner().invoke


def captions(*words):
    return run(app, ["data", "captions", *map(str, words)])


def lines(file):
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_multi30k_gets_there_in_one_command(tmp_path):
    result = captions("multi30k", write_multi30k(tmp_path / "dataset"), "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert lines(tmp_path / "out/train/captions_cs.jsonl")[0] == {
        "image": "1003.jpg",
        "image_id": "flickr30k:1003",
        "text": ["cs of 1003"],
    }
    assert len(lines(tmp_path / "out/test/captions_de.jsonl")) == 3
    assert "kept 9 of 9 rows" in result.stdout
    assert "multi30k train: 0 test images left out" in result.stdout
    assert ["train", "en", "4", "images", "20", "captions"] in [line.split() for line in result.stdout.splitlines()]
    assert result.stdout.splitlines()[-3:] == [
        f"  captions: {tmp_path / 'out' / 'train'}",
        f"  validation_captions: {tmp_path / 'out' / 'val'}",
        f"  test_captions: {tmp_path / 'out' / 'test'}",
    ]


def test_languages_and_task_can_be_chosen(tmp_path):
    source, output = write_multi30k(tmp_path / "dataset"), tmp_path / "out"
    result = captions("multi30k", source, "--output", output, "--language", "de", "--language", "fr", "--task", "1")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in (output / "val").iterdir()) == ["captions_de.jsonl", "captions_fr.jsonl"]
    assert lines(output / "val/captions_de.jsonl")[0]["text"] == ["de of 2000"]


def test_test_images_of_several_sets_are_left_out_and_counted(tmp_path):
    splits = write_karpathy(tmp_path / "dataset_coco.json")
    chinese, output = write_coco_cn(tmp_path / "coco-cn"), tmp_path / "out"
    first = captions("coco-cn", chinese, "--output", output)
    assert first.exit_code == 0, first.output
    others = ["--test-set", f"coco-cn={chinese}", "--test-set", f"coco={splits}", "--test-set", output]
    second = captions("stair", write_coco(tmp_path / "stair"), "--split-file", splits, "--output", output, *others)
    assert second.exit_code == 0, second.output
    assert [line["image_id"] for line in lines(output / "train/captions_ja.jsonl")] == ["coco:1", "coco:3"]
    assert [line["image_id"] for line in lines(output / "test/captions_ja.jsonl")] == ["coco:5", "coco:6"]
    assert f"stair train: 1 test images left out (1 of 3 rows): 1 of coco-cn={chinese}, 1 of {output}" in second.stdout
    assert sorted(file.name for file in (output / "test").iterdir()) == ["captions_ja.jsonl", "captions_zh.jsonl"]


def test_strict_run_stops_and_writes_nothing(tmp_path):
    splits, chinese = write_karpathy(tmp_path / "dataset_coco.json"), write_coco_cn(tmp_path / "coco-cn")
    result = captions("coco", splits, "--output", tmp_path / "out", "--test-set", f"coco-cn={chinese}", "--strict")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: coco:2 is in the list coco train and in the test set coco-cn=")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flickr", "."], "no reader 'flickr'"),
        (["multi30k", "none"], "neither task1 nor task2"),
        (["coco-cn", ".", "--task", "1"], "coco-cn has no option task"),
        (["stair", ".", "--language", "ja", "--language", "en"], "stair is in one language"),
        (["coco-cn", ".", "--test-set", "folder=none"], "none holds no captions_LANGUAGE.jsonl"),
    ],
)
def test_mistakes_are_one_line(tmp_path, words, message):
    result = captions(*words, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_told_once(tmp_path, caplog):
    rows = [{"image": f"{number}.jpg", "captions": {"en": [f"cat {number}"]}} for number in range(9)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"image": "9.jpg"}])), "utf-8")
    result = captions("lines", tmp_path / "rows.jsonl", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (result.output + caplog.text).count("missing field:") == 1
