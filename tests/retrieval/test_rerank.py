import logging
import shutil

import numpy as np
import pytest
import torch
from helpers.finetuning.scored_pairs import build_scorer_parts
from helpers.mlmm.corpus_files import INFO, write_regions
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from wenlan.data import RegionShardError, read_regions
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.retrieval.rerank import Reranker, combine, find_region_folders

IMAGES = {f"{number}.png": [number % 4] * (1 + number % 3) for number in range(9)}
IDS = ["7.png", "2.png", "5.png", "0.png"]
TEXT = "a lion and a key"


@pytest.fixture(scope="module")
def parts():
    return build_scorer_parts()[:2]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An index folder with regions in two folders of shards; 3.png occurs in both. Not to be changed."""
    folder = tmp_path_factory.mktemp("index")
    write_regions(folder / "regions" / "000001", {name: IMAGES[name] for name in list(IMAGES)[:4]})
    write_regions(folder / "regions" / "000002", {name: IMAGES[name] for name in list(IMAGES)[3:]})
    return folder


@pytest.fixture
def reranker(parts, index):
    return Reranker(*parts, regions=find_region_folders(index))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector whose features are as wide as those of the shards."""
    folder = tmp_path_factory.mktemp("detector")
    tiny_detector(fc_dim=INFO.feature_dim).save_pretrained(folder)
    RegionImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}).save_pretrained(folder)
    return folder


def test_each_candidate_has_the_score_of_the_model_and_costs_one_pass(parts, index, reranker):
    model, processor = parts
    rows = {row["image_id"]: row for folder in find_region_folders(index) for row in read_regions(folder)}
    expected = [model(**processor(text=TEXT, regions=rows[name])).scores.item() for name in IDS]
    pairs = []
    hook = model.mlmm.encoder.register_forward_hook(lambda _, __, states: pairs.append(len(states[0])))
    scores = reranker(TEXT, IDS)
    hook.remove()
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert sum(pairs) == reranker.forwards == len(IDS)
    assert len(reranker("another text", IDS[:1])) == 1
    assert reranker.forwards == len(IDS) + 1


def test_latest_regions_of_an_image_count(parts, index):
    folders = find_region_folders(index)
    assert [folder.name for folder in folders] == ["000001", "000002"]
    latest = Reranker(*parts, regions=folders[1:])(TEXT, ["3.png"])
    assert Reranker(*parts, regions=folders)(TEXT, ["3.png"]) == latest
    assert Reranker(*parts, regions=folders[::-1])(TEXT, ["3.png"]) != latest


def test_no_rows_but_those_of_candidates_are_read(reranker, monkeypatch):
    read = []
    original = type(reranker._regions).__getitems__
    monkeypatch.setattr(
        type(reranker._regions), "__getitems__", lambda self, places: read.append(places) or original(self, places)
    )
    reranker(TEXT, IDS)
    assert [len(places) for places in read] == [len(IDS)]


def test_candidates_without_regions_come_last_in_their_order_and_are_counted(reranker, caplog):
    with caplog.at_level(logging.WARNING):
        second = reranker(TEXT, ["gone.png", *IDS, "lost.png"])
    assert np.isnan(second).tolist() == [True, False, False, False, False, True]
    assert "2 of 6 candidates are not scored and come last: 2 x no regions. First: gone.png" in caplog.text
    assert reranker.unscored == {"no regions": 2}
    assert combine(np.arange(6.0, 0, -1), second).order[-2:].tolist() == [0, 5]
    assert combine(np.arange(6.0, 0, -1), second, 0.3).order[-2:].tolist() == [0, 5]


def test_no_candidates_have_no_scores(reranker):
    assert reranker(TEXT, []).shape == (0,)
    assert combine(np.array([]), np.array([]), 0.5).order.shape == (0,)


def test_regions_are_found_on_the_fly_where_none_are_stored(parts, index, detector, tmp_path, caplog):
    torch.manual_seed(0)
    Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 9).convert("RGB").save(tmp_path / "new.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    paths = [tmp_path / name for name in ("new.png", "broken.png", "moved.png")]
    found = Reranker(*parts, detector=detector)
    scores = found(TEXT, ["new", "broken", "moved"], paths)
    assert np.isnan(scores).tolist() == [False, True, True]
    assert (found.forwards, sum(found.unscored.values())) == (1, 2)
    assert "not scored" in caplog.text


def test_regions_of_another_detector_are_refused_with_both_hashes(parts, index, detector, tmp_path):
    model, processor = parts
    folders = find_region_folders(index)
    processor.detector_hash = "trained"
    try:
        with pytest.raises(ValueError, match="of the detector made-up, and the MLMM was trained on those of trained"):
            Reranker(model, processor, regions=folders)
    finally:
        processor.detector_hash = None
    with pytest.raises(ValueError, match="the MLMM was trained on those of made-up"):
        Reranker(model, processor, regions=folders, detector=detector)


def test_neither_regions_nor_a_detector_is_an_error(parts):
    with pytest.raises(ValueError, match="extract them with wenlan extract-regions, or name a detector"):
        Reranker(*parts)


def test_damaged_shard_is_named_and_can_be_skipped(parts, index, tmp_path):
    shutil.copytree(index, tmp_path / "index")
    folders = find_region_folders(tmp_path / "index")
    (folders[0] / "regions-00000-of-00001.parquet").write_bytes(b"no parquet")
    with pytest.raises(RegionShardError, match="000001"):
        Reranker(*parts, regions=folders)
    skipping = Reranker(*parts, regions=folders, on_bad_shard="skip")
    assert np.isnan(skipping(TEXT, ["0.png", "5.png"])).tolist() == [True, False]


def test_paths_must_be_as_many_as_candidates(reranker):
    with pytest.raises(ValueError, match="4 candidates and 1 paths"):
        reranker(TEXT, IDS, ["a.png"])


def test_without_a_weight_the_second_stage_decides_alone():
    ranking = combine([0.9, 0.8, 0.7], [-1.0, 5.0, 2.0])
    assert ranking.order.tolist() == [1, 2, 0]
    assert ranking.scores.tolist() == [-1.0, 5.0, 2.0]


def test_weight_mixes_standardized_scores():
    first, second = np.array([0.9, 0.8, 0.1]), np.array([-1.0, 5.0, 2.0])
    z = [(one - one.mean()) / one.std() for one in (first, second)]
    np.testing.assert_allclose(combine(first, second, 0.3).scores, 0.3 * z[0] + 0.7 * z[1])
    assert combine(first, second, 1.0).order.tolist() == [0, 1, 2]
    assert combine(first, second, 0.0).order.tolist() == combine(first, second).order.tolist()


def test_equal_scores_keep_the_order_of_the_first_stage():
    assert combine([3.0, 2.0, 1.0], [4.0, 4.0, 4.0], 0.5).order.tolist() == [0, 1, 2]
    assert combine([3.0, 2.0, 1.0], [4.0, 4.0, 4.0]).order.tolist() == [0, 1, 2]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weight_out_of_range_is_refused(weight):
    with pytest.raises(ValueError, match="must be 0 to 1"):
        combine([1.0], [1.0], weight)
    with pytest.raises(ValueError, match="scores of the first stage"):
        combine([1.0, 2.0], [1.0])


def test_regions_that_were_chosen_otherwise_are_reported(parts, index, caplog, monkeypatch):
    Reranker(*parts, regions=find_region_folders(index))
    assert "have {'min_boxes': 1, 'max_boxes': 4}" in caplog.text
    caplog.clear()
    monkeypatch.setattr(parts[1], "min_boxes", 1)
    monkeypatch.setattr(parts[1], "max_boxes", 4)
    Reranker(*parts, regions=find_region_folders(index))
    assert caplog.text == ""


def test_candidates_are_found_by_the_end_of_their_path(parts, index, reranker):
    by_path = Reranker(*parts, regions=find_region_folders(index))
    assert by_path(TEXT, [f"/photos/{name}" for name in IDS]).tolist() == reranker(TEXT, IDS).tolist()
    with pytest.raises(ValueError, match=r"both fit the regions of 7\.png"):
        by_path(TEXT, ["/others/7.png"])
