"""The command on an index of a tiny BriVL, re-ranked by a tiny MLMM."""

import csv
import json

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from helpers.index_folders import write_images
from helpers.mlmm.corpus_files import write_regions
from PIL import Image
from typer.testing import CliRunner
from wenlan.retrieval import BuildOptions, build_index
from wenlan.training_scripts.figures.hybrid_curve import main

from wenlan.cli.main import app

COUNT = 8


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Options of a curve over eight images, with two captions each."""
    root = tmp_path_factory.mktemp("hybrid")
    save_tiny_folder(root / "brivl")
    images = write_images(root / "photos", COUNT)
    build_index(images, root / "index", model=str(root / "brivl"), options=BuildOptions(num_proc=1))
    save_pretrained_mlmm(root / "mlmm")
    write_regions(root / "regions", {f"{number:03}.png": [number % 4] * (1 + number % 3) for number in range(COUNT)})
    rows = [{"image": f"photos/{number:03}.png", "text": [f"猫{number}", "狗"]} for number in range(COUNT)]
    (root / "zh.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    options = {"rerank": root / "mlmm", "regions": root / "regions", "queries": root / "zh.jsonl", "language": "zh"}
    return [str(root / "index"), *(str(word) for name, value in options.items() for word in (f"--{name}", value))]


@pytest.fixture(scope="module")
def made(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "curve"
    return main([*words, "--k", "1", "4", "--timed_queries", "3", "--output_dir", str(folder)])


def test_curve_table_and_metrics_say_the_same(made):
    metrics = json.loads((made / "metrics.json").read_text("utf-8"))
    points = metrics["points"]
    assert [point["k"] for point in points] == [0, 1, 4, COUNT]
    assert [point["forwards"] for point in points] == [0, 1, 4, COUNT]
    assert (metrics["images"], metrics["queries"], metrics["timed_queries"]) == (COUNT, 2 * COUNT, 3)
    assert points[0]["r1"] == points[1]["r1"]
    assert all(point["r1"] <= point["candidate_recall"] for point in points)
    assert all(
        low <= point["r1"] <= high for point, (low, high) in zip(points, metrics["r1_interval"].values(), strict=True)
    )
    with (made / "hybrid_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == points
    with Image.open(made / "quality_vs_latency.png") as image:
        assert min(image.size) > 500


def test_command_is_known_and_help_lists_its_options():
    result = CliRunner().invoke(app, ["hybrid-curve", "--help"])
    assert result.exit_code == 0
    assert "--rerank" in result.stdout


def test_missing_options_are_named_together(tmp_path):
    with pytest.raises(ValueError, match="rerank and queries is missing"):
        main([str(tmp_path), "--output_dir", str(tmp_path / "out")])


def test_caption_of_an_image_outside_the_index_is_named(words, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"image": "else.png", "text": "猫"}', "utf-8")
    with pytest.raises(ValueError, match=r"q\.jsonl: else\.png is not among the 8 rows"):
        main([*words, "--queries", str(tmp_path / "q.jsonl"), "--output_dir", str(tmp_path / "out")])
