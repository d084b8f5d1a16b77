"""Training on a file of which one row in twenty is bad, in every way that the readers know."""

import json
import random

import pytest
from kill_resume import RECIPE
from PIL import Image
from transformers import Trainer
from wenlan.modeling_brivl import MomentumQueueCallback
from wenlan.processing import Augmentation, ContrastiveCollator
from wenlan.training.brivl.data import load_pairs
from wenlan.training.brivl.model import build_model
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_brivl import ARGUMENTS, main

BOXES = [[0, 0, 9, 9]] * 20  # enough that the bad ones are few
LEFT_OUT = {
    "broken line": [b'{"image": "good.png"', b"[1, 2]", b"42"],
    "missing field": [{"image": "good.png"}, {"text": ["猫"]}],
    "text is no string": [{"image": "good.png", "text": [7]}],
    "empty text": [{"image": "good.png", "text": ["\ufeff "]}, {"image": "good.png", "text": []}],
    "useless text": [
        {"image": "good.png", "text": ["image"]},
        {"image": "good.png", "text": ["https://example.org/a"]},
        {"image": "good.png", "text": ["IMG_0001.jpg"]},
    ],
    "invalid UTF-8": [b'{"image": "good.png", "text": ["\xff"]}'],
    "file missing": [{"image": "none.png", "text": ["猫"]}],
    "image is a URL": [
        {"image": "https://example.org/a.png", "text": ["猫"]},
        {"image": "ftp://example.org/a.png", "text": ["猫"]},
    ],
    "path leaves image root": [{"image": "../a.png", "text": ["猫"]}],
    "empty file": [{"image": "empty.png", "text": ["猫"]}],
    "not an image": [{"image": "note.png", "text": ["猫"]}],
    "truncated": [{"image": "cut.png", "text": ["猫"]}],
    "too large": [{"image": "bomb.png", "text": ["猫"]}],
}
REPAIRED = {
    "box dropped": [
        {"image": "good.png", "text": ["猫"], "boxes": [*BOXES, [9, 9, 3, 3]]},
        {"image": "good.png", "text": ["猫"], "boxes": [[1, 2, 3], *BOXES]},
    ],
    "caption dropped": [{"image": "good.png", "text": ["猫", "image"]}, {"image": "good.png", "text": ["", "猫"]}],
}
GOOD = {"image": "good.png", "text": ["一只猫", "猫"]}


@pytest.fixture
def corpus(tmp_path):
    """A folder of images and a file in which 5 % of the rows are bad; the good ones have odd images too."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    image = Image.effect_noise((48, 40), 80)
    image.save(folder / "good.png")
    (folder / "empty.png").touch()
    (folder / "note.png").write_text("not an image", "utf-8")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:300])
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    odd = {"grey": "L", "palette": "P", "alpha": "RGBA", "cmyk": "CMYK", "dot": "RGB"}
    for name, mode in odd.items():
        image.resize((1, 1) if name == "dot" else image.size).convert(mode).save(folder / f"{name}.tif")
    image.convert("I").point(lambda value: value * 257).convert("I;16").save(folder / "deep.tif")
    bad = [row for rows in LEFT_OUT.values() for row in rows]
    good = [{**GOOD, "image": path.name} for path in sorted(folder.glob("*.tif"))]
    good += [row for rows in REPAIRED.values() for row in rows]
    good += [GOOD] * (19 * len(bad) - len(good))
    rows = [GOOD, *random.Random(0).sample(bad + good[:-1], len(bad + good) - 1)]  # the first one makes texts lists
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    (folder / "metadata.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


@pytest.fixture
def recipe(corpus, tmp_path):
    """Of a tiny model, for one epoch; boxes forbid that augmentation moves the image."""
    once = {"data": str(corpus), "max_steps": -1, "num_train_epochs": 1, "save_strategy": "no", "augmentation": {}}
    once["per_device_train_batch_size"] = sum(map(len, LEFT_OUT.values()))  # 19 full batches
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(RECIPE | once | {"output_dir": str(tmp_path / "out")}), "utf-8")
    return str(path)


def test_training_on_five_percent_bad_rows_of_every_kind_finishes_with_exact_counts(recipe, capsys):
    output = main([recipe])
    printed = capsys.readouterr().out
    report = json.loads((output / "data_report.json").read_text("utf-8"))
    assert report["pairs"] == 19 * sum(map(len, LEFT_OUT.values()))
    assert report["bad_rows"] == {cause: len(rows) for cause, rows in LEFT_OUT.items()}
    assert report["repairs"] == {cause: len(rows) for cause, rows in REPAIRED.items()}
    assert f"left out: {len(LEFT_OUT['broken line'])} x broken line. First: " in printed
    state = json.loads((output / "trainer_state.json").read_text("utf-8"))
    assert state["global_step"] == 19
    assert "could not be used while training" not in printed


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_go_bad_after_the_check_are_left_out_and_counted_by_cause(corpus, recipe, workers):
    model_args, data_args, *_, args = parse_recipe(ARGUMENTS, [recipe, "--dataloader_num_workers", str(workers)])
    pairs, texts = load_pairs(data_args, seed=0)
    model, processor = build_model(model_args, texts)
    collator = ContrastiveCollator(processor, Augmentation())
    (corpus / "grey.tif").unlink()
    (corpus / "palette.tif").write_bytes(b"")
    (corpus / "alpha.tif").write_bytes((corpus / "alpha.tif").read_bytes()[:500])
    (corpus / "cmyk.tif").write_text("not an image", "utf-8")
    trainer = Trainer(model, args, train_dataset=pairs, data_collator=collator, callbacks=[MomentumQueueCallback()])
    trainer.train()
    assert collator.bad_rows.counts == {"file missing": 1, "empty file": 1, "truncated": 1, "not an image": 1}
    assert trainer.state.global_step == 19
