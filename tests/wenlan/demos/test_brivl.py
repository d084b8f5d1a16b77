"""The demo's outputs: a model that opens elsewhere bit for bit, a report with images, metrics beside chance."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline
from wenlan.data import LANGUAGES, load_emoji7
from wenlan.pipelines import embed_texts
from wenlan.processing import decode_image

from wenlan.demos.brivl import next_commands

pytestmark = pytest.mark.slow

EMBED = """
import sys, torch, wenlan
from transformers import AutoModel, AutoProcessor
torch.set_num_threads(1)
model, processor = AutoModel.from_pretrained(sys.argv[1]).eval(), AutoProcessor.from_pretrained(sys.argv[1])
from wenlan.pipelines import embed_texts
torch.save(embed_texts(model, processor, ["猫", "红色的心", "会飞的交通工具"]), sys.argv[2])
"""


def test_saved_folder_gives_the_same_embeddings_bit_for_bit_in_a_new_process(quickstart_folder, tmp_path):
    model, processor = AutoModel.from_pretrained(quickstart_folder), AutoProcessor.from_pretrained(quickstart_folder)
    ours = embed_texts(model, processor, ["猫", "红色的心", "会飞的交通工具"])
    subprocess.run([sys.executable, "-c", EMBED, quickstart_folder, tmp_path / "theirs.pt"], check=True)
    assert torch.equal(ours, torch.load(tmp_path / "theirs.pt", weights_only=True))


def test_report_shows_every_figure_beside_chance_and_every_image(quickstart_folder):
    page = (quickstart_folder / "report.html").read_text("utf-8")
    for name in ("loss", "phrases", "pipeline", "image_to_text", "text_to_image"):
        assert f'src="{name}.png"' in page
        assert Image.open(quickstart_folder / f"{name}.png").width > 300
    retrieval = json.loads((quickstart_folder / "metrics.json").read_text("utf-8"))["test/retrieval"]
    assert f"R@1 {retrieval['i2t_R@1']:.1f} (chance 0.1)" in page
    assert "test_held (fluent3d)" in page


def test_report_says_which_languages_the_model_knows(quickstart_folder):
    page = (quickstart_folder / "report.html").read_text("utf-8")
    assert "It answers in what it was trained on: Chinese.<" in page
    assert next_commands(quickstart_folder, ["zh"], has_encoder=False) in page


def test_next_commands_name_labels_and_recipes_that_fit_the_model(tmp_path):
    chinese, czech, *_ = next_commands(tmp_path, LANGUAGES, has_encoder=True).splitlines()
    assert (chinese.split()[-1], czech.split()[-1]) == ("猫,狗,飞机", "kočka,pes,letadlo")
    alone, *others = next_commands(tmp_path, ["zh"], has_encoder=False).splitlines()
    assert alone == chinese
    recipes = [line.split()[2] for line in others if "pretrain-brivl" in line]
    assert recipes == ["brivl_small_scratch", "brivl_tiny_scratch"]


def test_zero_shot_pipeline_agrees_with_the_model(quickstart_folder):
    labels = ["猫", "狗", "飞机", "香蕉"]
    classify = pipeline("zero-shot-image-classification", model=str(quickstart_folder))
    model, processor = AutoModel.from_pretrained(quickstart_folder), AutoProcessor.from_pretrained(quickstart_folder)
    for row in load_emoji7()["test"].select(range(0, 200, 50)):
        best = classify(decode_image(row["image"]), candidate_labels=labels, hypothesis_template="{}")[0]["label"]
        inputs = processor(images=row["image"], text=labels, return_tensors="pt")
        assert best == labels[model(**inputs).logits_per_image.argmax().item()]
