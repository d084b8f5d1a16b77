from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.mlmm.corpus_files import write_regions
from wenlan.data import StreamedPairs, load_emoji_scenes, read_regions
from wenlan.data.files.dataset_cache import dataset_cache


@pytest.fixture
def no_home(monkeypatch):
    """As with a HOME where nobody can write, root neither."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("/proc/nohome/datasets"))


def test_cache_is_that_of_datasets_and_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "new" / "datasets")
    assert dataset_cache() == tmp_path / "new" / "datasets"
    assert dataset_cache().is_dir()


def test_without_a_home_a_temporary_one_is_taken_and_said(no_home, caplog):
    folder = dataset_cache()
    assert folder.is_dir()
    assert dataset_cache() == folder == datasets.config.HF_DATASETS_CACHE
    assert caplog.text == "" or "HF_HOME names another folder" in caplog.text  # once a process


def test_streams_regions_and_scenes_are_read_without_a_home(no_home, tmp_path):
    pq.write_table(pa.table({"image": [b"unused"] * 2, "text": ["a", "b"]}), tmp_path / "0.parquet")
    assert sorted(pair["text"] for pair in StreamedPairs(tmp_path / "0.parquet", shuffle_buffer=2)) == ["a", "b"]
    write_regions(tmp_path / "regions", {"1.png": [0, 1], "2.png": [2]})
    assert [row["image_id"] for row in read_regions(tmp_path / "regions")] == ["1.png", "2.png"]
    assert len(load_emoji_scenes("detect", 2, num_classes=16, canvas=128)) == 2
