import json

import numpy as np
import pytest
from helpers.regions.images import save_detector, save_images, spoil
from typer.testing import CliRunner
from wenlan.data import read_region_info, read_regions
from wenlan.pipelines import region_extraction as script

from wenlan.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return save_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture
def photos(tmp_path):
    spoil(tmp_path / "photos", save_images(tmp_path / "photos", 12)[:1])
    return tmp_path / "photos"


def test_extraction_prints_what_was_written_and_how_to_read_it(detector, photos, tmp_path):
    options = ["--min-boxes", 4, "--max-boxes", 6, "--top-k", 2, "--region-boxes", "refined", "--threshold", 0.1]
    options += ["--batch-size", 2, "--shard-size", 5, "--dtype", "bfloat16", "--num-workers", 1, "--device", "cpu"]
    result = run("extract-regions", photos, "--output", tmp_path / "out", "--model", detector, *options)
    assert result.exit_code == 0, result.output
    assert "kept 11 of 12 rows" in result.stdout
    assert "1 x truncated" in result.stdout
    assert f"read_regions('{tmp_path}/out')" in result.stdout
    info = read_region_info(tmp_path / "out")
    assert (info.top_k, info.settings["region_boxes"], info.settings["dtype"]) == (2, "refined", "bfloat16")
    assert (info.settings["min_boxes"], info.settings["max_boxes"], info.settings["conf_threshold"]) == (4, 6, 0.1)
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 3
    assert len(read_regions(tmp_path / "out")) == 11


def test_list_with_a_root_is_read(detector, photos, tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps({"images": [{"id": 5, "file_name": "001.jpg"}]}))
    arguments = ["--image-root", photos, "--output", tmp_path / "out", "--model", detector]
    result = run("extract-regions", tmp_path / "coco.json", *arguments)
    assert result.exit_code == 0, result.output
    assert read_regions(tmp_path / "out")[0]["image_id"] == "5"


def test_too_many_bad_images_end_in_exit_code_1(detector, photos, tmp_path):
    arguments = ["--output", tmp_path / "out", "--model", detector, "--max-bad-fraction", 0.05]
    result = run("extract-regions", photos, *arguments)
    assert result.exit_code == 1
    assert "Error: Failed: more than 5% of the inputs (or all) were left out." in result.output


def test_changed_settings_are_a_short_error(detector, photos, tmp_path):
    arguments = ["extract-regions", photos, "--output", tmp_path / "out", "--model", detector]
    run(*arguments)
    result = run(*arguments, "--max-boxes", 36)
    assert result.exit_code == 1
    assert "info.settings.max_boxes is 100 there and 36 now" in result.output
    assert "another output folder" in result.output.replace("\n", " ")


@pytest.mark.parametrize("missing", ["photos", "model"])
def test_missing_images_or_model_are_a_short_error(detector, photos, tmp_path, missing):
    sources = {"photos": photos, "model": detector} | {missing: tmp_path / "none"}
    result = run("extract-regions", sources["photos"], "--output", tmp_path / "out", "--model", sources["model"])
    assert result.exit_code == 1
    assert "Error:" in result.output


def test_interrupt_says_how_to_resume(detector, photos, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(script._Extraction, "__call__", interrupt)
    result = run("extract-regions", photos, "--output", tmp_path / "out", "--model", detector)
    assert result.exit_code == 130
    assert "To resume:" in result.output


def test_import_asks_for_the_permission_to_read_pickles(tmp_path):
    (tmp_path / "bua").mkdir()
    arrays = {"x": np.ones((2, 4), np.float32), "bbox": np.ones((2, 4)), "image_h": 5, "image_w": 6}
    info = {"objects_id": np.array([0, 1]), "objects_conf": np.array([0.5, 0.6])}
    np.savez(tmp_path / "bua" / "a.npz", **arrays, info=info)
    refused = run("import-regions", tmp_path / "bua", "--output", tmp_path / "out")
    assert refused.exit_code == 1
    assert "--allow-pickle" in refused.output
    options = ["--allow-pickle", "--model", "bua-r101"]
    result = run("import-regions", tmp_path / "bua", "--output", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "kept 1 of 1 rows" in result.stdout
    assert read_regions(tmp_path / "out")[0]["object_ids"].tolist() == [0, 1]
    assert read_region_info(tmp_path / "out").model_hash == "bua-r101"
