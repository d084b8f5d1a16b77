"""Search in an index that holds tokens for late interaction."""

import shutil

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.index_folders import check_index, write_images
from wenlan.modeling_brivl import late_interaction_scores
from wenlan.pipelines import embed_image_tokens, embed_text_tokens, open_brivl
from wenlan.retrieval import BuildOptions, SearchEngine, build_index, compact_index, remove_rows
from wenlan.retrieval.store.folder import IndexFolder

COUNT = 12
OPTIONS = BuildOptions(shard_size=5, num_proc=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    save_tiny_folder(folder / "model", late_interaction=True, late_dim=12)
    build_index(write_images(folder / "photos", COUNT), folder / "index", model=str(folder / "model"), options=OPTIONS)
    return folder


@pytest.fixture
def index(made, tmp_path):
    return shutil.copytree(made / "index", tmp_path / "index")


@pytest.fixture(scope="module")
def expected(made):
    """Late scores of every image with every sentence, by the model."""
    brivl = open_brivl(made / "model")
    paths = sorted((made / "photos").iterdir())
    _, images = embed_image_tokens(*brivl, paths)
    _, texts = embed_text_tokens(*brivl, SENTENCES)
    scores = {}
    for text, tokens in zip(SENTENCES, texts, strict=True):
        scores[text] = {path.name: score(image, tokens) for path, image in zip(paths, images, strict=True)}
    return scores


def score(image, text):
    image, text = (torch.tensor(one, dtype=torch.float32)[None] for one in (image, text))
    return late_interaction_scores(image, torch.ones(image.shape[:2]), text, torch.ones(text.shape[:2])).item()


def found(index, text, **options):
    hits = SearchEngine.open(index).search(text=text, **options)
    return {hit.id.rpartition("/")[2]: hit.late_score for hit in hits}


def test_hits_are_in_the_order_of_late_interaction(index, expected):
    for text, scores in expected.items():
        hits = found(index, text, k=COUNT)
        assert list(hits) == sorted(scores, key=lambda name: -scores[name])
        np.testing.assert_allclose(list(hits.values()), [scores[name] for name in hits], atol=2e-3)  # 16 bit


def test_late_interaction_can_be_left_out(index):
    hits = SearchEngine.open(index).search(text=SENTENCES[0], k=COUNT, late=False)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {hit.late_score for hit in hits} == {None}


def test_tokens_stay_with_their_rows_through_removal_addition_and_compaction(index, made, expected, tmp_path):
    before = found(index, SENTENCES[2], k=COUNT)
    remove_rows(index, where="path like '%003.png'")
    build_index(write_images(tmp_path / "more", 2, start=70), index, model=str(made / "model"), options=OPTIONS)
    assert compact_index(index, max_rows=4) == (4, 4)
    after = found(index, SENTENCES[2], k=COUNT + 5)
    assert after.keys() == before.keys() - {"003.png"} | {"070.png", "071.png"}
    assert {name: after[name] for name in after if name < "070"} == {
        name: value for name, value in before.items() if name != "003.png"
    }
    files = {path.name for path in (index / "shards").iterdir()}
    assert files == {entry.file for entry in IndexFolder.open(index).manifest.files}
    check_index(index)


def test_rows_with_new_metadata_keep_their_tokens(index, made, tmp_path):
    before = found(index, SENTENCES[1], k=COUNT)
    name = IndexFolder.open(index).read(["id"])["id"][2].as_py()
    (tmp_path / "tags.csv").write_text(f"id,tag\n{name},x\n")
    build_index(made / "photos", index, model=str(made / "model"), metadata=tmp_path / "tags.csv", options=OPTIONS)
    assert found(index, SENTENCES[1], k=COUNT) == before
    assert list(found(index, SENTENCES[1], filter="tag = 'x'")) == [name.rpartition("/")[2]]


def test_reader_keeps_the_tokens_that_it_opened(index):
    engine = SearchEngine.open(index)
    before = engine.search(text=SENTENCES[0], k=COUNT)
    compact_index(index)
    assert engine.search(text=SENTENCES[0], k=COUNT) == before


def test_damaged_tokens_are_named(index):
    path = next((index / "shards").glob("*.tokens.npy"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=path.name):
        SearchEngine.open(index)
    engine = SearchEngine.open(index, skip_damaged=True)
    assert engine.folder.damaged == (path.name,)
    hits = engine.search(text=SENTENCES[0], k=COUNT)
    without = [hit.late_score is None for hit in hits]
    assert len(hits) == COUNT
    assert sum(without) in (2, 5)
    assert without == sorted(without)


def test_index_without_tokens_says_so(tmp_path):
    save_tiny_folder(tmp_path / "model")
    index = tmp_path / "index"
    build_index(write_images(tmp_path / "photos", 2), index, model=str(tmp_path / "model"), options=OPTIONS)
    with pytest.raises(ValueError, match="no tokens for late interaction"):
        SearchEngine.open(index).search(text=SENTENCES[0], late=True)


def test_an_image_finds_itself_by_its_tokens(index, made):
    hit = SearchEngine.open(index).search(image=made / "photos" / "004.png", k=1)[0]
    assert hit.id.endswith("004.png")
    assert hit.late_score == pytest.approx(1, abs=1e-3)
