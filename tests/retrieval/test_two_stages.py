"""Search in two stages: regions in the index folder, and an MLMM that orders the first hits anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.finetuning.scored_pairs import build_scorer_parts
from helpers.index_folders import write_images
from helpers.mlmm.corpus_files import INFO
from helpers.mlmm.folder import write_model
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from transformers import AutoProcessor
from wenlan.data import read_regions
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.retrieval import BuildOptions, SearchEngine, build_index
from wenlan.retrieval.rerank import Reranker, find_region_folders, rerank_hits
from wenlan.retrieval.store.folder import IndexFolder

OPTIONS = BuildOptions(num_proc=1)
COUNT, TEXT = 9, "猫"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an index of images whose regions were extracted. Not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    save_tiny_folder(folder / "model")
    tiny_detector(fc_dim=INFO.feature_dim).save_pretrained(folder / "detector")
    RegionImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}).save_pretrained(folder / "detector")
    images = write_images(folder / "photos", COUNT)
    options = {"model": str(folder / "model"), "regions": str(folder / "detector"), "options": OPTIONS}
    build_index(images, folder / "index", **options)
    return folder


@pytest.fixture
def engine(made):
    return SearchEngine.open(made / "index")


@pytest.fixture
def reranker(made):
    return Reranker(*build_scorer_parts()[:2], regions=find_region_folders(made / "index"))


def ids(hits):
    return [hit.id for hit in hits]


def test_all_rows_as_candidates_give_the_ranking_of_the_mlmm(engine, reranker):
    hits = engine.search(text=TEXT, k=COUNT, rerank=reranker, candidates=COUNT)
    first = engine.search(text=TEXT, k=COUNT)
    scores = dict(zip(ids(first), reranker(TEXT, ids(first)), strict=True))
    assert ids(hits) == sorted(scores, key=scores.__getitem__, reverse=True)
    assert [hit.rerank_score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-5)
    assert {hit.id: hit.score for hit in hits} == {hit.id: hit.score for hit in first}
    assert ids(hits) != ids(first)


def test_one_candidate_is_the_first_of_brivl(engine, reranker):
    assert ids(engine.search(text=TEXT, k=1, rerank=reranker, candidates=1)) == ids(engine.search(text=TEXT, k=1))


@pytest.mark.parametrize("candidates", [1, 4, COUNT, 50])
def test_each_candidate_costs_one_pass(engine, reranker, candidates):
    hits = engine.search(text=TEXT, k=1, rerank=reranker, candidates=candidates)
    assert hits.forwards == reranker.forwards == min(candidates, COUNT)
    assert set(ids(hits)) <= set(ids(engine.search(text=TEXT, k=candidates)))


def test_weight_of_one_keeps_the_first_order(engine, reranker):
    first = engine.search(text=TEXT, k=COUNT)
    assert ids(engine.search(text=TEXT, k=COUNT, rerank=reranker, weight=1)) == ids(first)
    assert ids(engine.search(text=TEXT, k=COUNT, rerank=reranker, weight=0)) == ids(
        engine.search(text=TEXT, k=COUNT, rerank=reranker)
    )


def test_second_stage_that_has_nothing_to_do_is_refused(engine, reranker, made):
    with pytest.raises(ValueError, match="reads a text and looks at images"):
        engine.search(image=made / "photos" / "000.png", rerank=reranker)
    for option in ({"candidates": 3}, {"weight": 0.5}):
        with pytest.raises(ValueError, match="say which MLMM"):
            engine.search(text=TEXT, **option)
    for count in (-1, 0):
        with pytest.raises(ValueError, match=f"candidates is {count}"):
            engine.search(text=TEXT, rerank=reranker, candidates=count)
    with pytest.raises(FileNotFoundError, match="runs/nowhere"):
        engine.search(text=TEXT, rerank="runs/nowhere")


def test_second_stage_that_can_look_at_nothing_is_an_error_and_one_that_lacks_some_puts_them_last(engine):
    def look_at_none(_, names, __):
        return np.full(len(names), np.nan)

    def look_at_two(_, names, __):
        return np.array([np.nan] * (len(names) - 2) + [1.0, 2.0])

    first = engine.search(text=TEXT, k=COUNT)
    with pytest.raises(ValueError, match=rf"None of the {COUNT} candidates can be re-ranked.*--regions"):
        rerank_hits(first, TEXT, look_at_none)
    hits = rerank_hits(first, TEXT, look_at_two)
    assert ids(hits) == [*ids(first)[:-3:-1], *ids(first)[:-2]]
    assert [hit.rerank_score for hit in hits] == [2.0, 1.0] + [None] * (COUNT - 2)
    assert hits.forwards == 2
    assert rerank_hits(first[:0], TEXT, look_at_none) == ()


def extracted(folder):
    return sorted(row["image_id"] for row in read_regions(find_region_folders(folder)))


def test_regions_are_extracted_once_and_again_for_images_that_are_new_or_were_changed(made, tmp_path):
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    names = [str(Path(name)) for name in IndexFolder.open(folder / "index").read(["id"])["id"].to_pylist()]
    assert extracted(folder / "index") == names
    build_index(folder / "photos", folder / "index", model=str(folder / "model"), options=OPTIONS)
    index = IndexFolder.open(folder / "index")
    assert index.manifest.next_key == 2 * COUNT  # other paths: the copy's
    assert len(extracted(folder / "index")) == 2 * COUNT
    build_index(folder / "photos", folder / "index", options=OPTIONS)
    assert len(IndexFolder.open(folder / "index").manifest.regions) == 2
    Image.new("RGB", (40, 40), "red").save(folder / "photos" / "003.png")
    build_index(folder / "photos", folder / "index", options=OPTIONS)
    rows = read_regions(find_region_folders(folder / "index")[-1:])
    assert [row["image_id"][-7:] for row in rows] == ["003.png"]


def test_folder_of_an_mlmm_stands_for_its_detector_and_its_choice_of_regions(made, tmp_path):
    write_model(tmp_path / "mlmm", MLMMForPreTraining)
    options = {"model": str(made / "model"), "options": OPTIONS}
    build_index(made / "photos", tmp_path / "index", regions=str(tmp_path / "mlmm"), **options)
    rows = read_regions(find_region_folders(tmp_path / "index"))
    assert {len(row["boxes"]) for row in rows} <= set(range(3, 7))  # min_boxes and max_boxes of the processor
    engine = SearchEngine.open(tmp_path / "index")
    hits = engine.search(text=TEXT, k=2, rerank=tmp_path / "mlmm", candidates=4)
    assert hits.forwards == 4
    processor = AutoProcessor.from_pretrained(tmp_path / "mlmm")
    processor.detector = None
    processor.save_pretrained(tmp_path / "mlmm")
    with pytest.raises(ValueError, match="names no region detector"):
        build_index(made / "photos", tmp_path / "other", regions=str(tmp_path / "mlmm"), **options)


def test_extraction_that_was_stopped_goes_on(made, tmp_path, monkeypatch):
    from wenlan.retrieval.store import index_regions

    options = {"model": str(made / "model"), "regions": str(made / "detector"), "options": OPTIONS}

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(index_regions, "extract_regions", stop)
        with pytest.raises(KeyboardInterrupt):
            build_index(made / "photos", tmp_path / "index", **options)
    assert len(SearchEngine.open(tmp_path / "index")) == COUNT
    build_index(made / "photos", tmp_path / "index", **options)
    assert len(extracted(tmp_path / "index")) == COUNT
    assert IndexFolder.open(tmp_path / "index").manifest.regions == ("0000",)


def test_scores_are_as_of_rows_that_are_moved_or_removed(engine, reranker, made):
    hits = engine.search(text=TEXT, k=3, rerank=reranker, filter="path like '%/00_.png' and not path like '%001.png'")
    assert not any(hit.id.endswith("001.png") for hit in hits)
    assert np.isfinite([hit.rerank_score for hit in hits]).all()
