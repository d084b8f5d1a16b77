import numpy as np
import pandas as pd
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.index_folders import write_images
from PIL import Image
from wenlan.data.files.json_files import write_json
from wenlan.retrieval.build import BuildOptions, build_index
from wenlan.retrieval.maintenance import compact_index, remove_rows
from wenlan.retrieval.search import SearchEngine
from wenlan.retrieval.store.folder import DamagedShardError, IndexFolder

OPTIONS = BuildOptions(batch_size=8, shard_size=8, num_proc=1)
COUNT = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "index"
    build_index(write_images(tmp_path / "photos", COUNT), folder, model=model_of(tmp_path), options=OPTIONS)
    return folder


def model_of(folder):
    save_tiny_folder(folder / "model")
    return str(folder / "model")


@pytest.fixture
def engine(photos):
    return SearchEngine.open(photos)


def brute_force(engine, query):
    """Ids and scores of all rows, best first, of what the shards hold."""
    rows = engine.folder.read(["id", "embedding"])
    scores = np.array(rows["embedding"].to_pylist(), np.float32) @ query
    order = np.argsort(-scores, kind="stable")
    return [rows["id"][int(row)].as_py() for row in order], scores[order]


def test_sentence_finds_what_brute_force_finds(engine):
    for text in SENTENCES:
        hits = engine.search(text=text, k=COUNT)
        ids, scores = brute_force(engine, engine.embed_texts([text])[0])
        assert [hit.id for hit in hits] == ids
        np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-5)
    assert engine.search(text=SENTENCES[0], k=3) == engine.search(text=SENTENCES[0], k=COUNT)[:3]


def test_image_of_the_index_finds_itself_first(engine, tmp_path):
    path = tmp_path / "photos" / "007.png"
    for image in (path, Image.open(path), np.asarray(Image.open(path))):
        hit = engine.search(image=image, k=1)[0]
        assert hit.path == path
        assert hit.score == pytest.approx(1, abs=1e-3)
    assert hit.metadata == {"size": path.stat().st_size, "modified": path.stat().st_mtime_ns}


def test_sentences_find_sentences(model, tmp_path):
    (tmp_path / "s.txt").write_text("\n".join(SENTENCES), "utf-8")
    build_index(tmp_path / "s.txt", tmp_path / "index", model=model, texts=True, options=OPTIONS)
    engine = SearchEngine.open(tmp_path / "index")
    hits = engine.search(text=SENTENCES[1], k=2)
    assert (hits[0].id, hits[0].path, hits[0].metadata) == (SENTENCES[1], None, {"text": SENTENCES[1]})
    assert len(engine.search(image=Image.new("RGB", (20, 20), "red"), k=99)) == len(SENTENCES)


def test_filter_leaves_only_what_meets_it(engine, tmp_path):
    sizes = sorted(path.stat().st_size for path in (tmp_path / "photos").iterdir())
    ids, _ = brute_force(engine, engine.embed_texts(["猫"])[0])
    condition = f"size > {sizes[9]} and not path like '%/photos/000%'"
    expected = [one for one in ids if (tmp_path / one).stat().st_size > sizes[9] and not one.endswith("000.png")]
    assert [hit.id for hit in engine.search(text="猫", k=99, filter=condition)] == expected
    assert engine.search(text="猫", filter="size > 1000000000") == ()
    with pytest.raises(ValueError, match=r"siz.*size"):
        engine.search(text="猫", filter="siz > 3")


def test_rows_added_removed_and_compacted_are_found_or_not(photos, tmp_path):
    def found():
        return {hit.id[-7:] for hit in SearchEngine.open(photos).search(text="猫", k=99)}

    before = found()
    assert len(before) == COUNT
    remove_rows(photos, where="path like '%003.png'")
    assert found() == before - {"003.png"}
    build_index(write_images(tmp_path / "more", 1, start=99), photos, options=OPTIONS)
    assert found() == before - {"003.png"} | {"099.png"}
    compact_index(photos, max_rows=5)
    assert found() == before - {"003.png"} | {"099.png"}


def test_reader_has_the_state_that_it_opened(photos):
    engine = SearchEngine.open(photos)
    remove_rows(photos, where="size > 0")
    compact_index(photos)
    assert len(engine.search(text="猫", k=99)) == COUNT
    assert SearchEngine.open(photos).search(text="猫") == ()


def test_hits_become_tables_and_data_sets(engine):
    hits = engine.search(text="猫", k=4)
    frame = hits.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["id", "score", "path", "size", "modified"]
    assert frame["id"].tolist() == [hit.id for hit in hits]
    assert hits.to_dataset()["score"] == pytest.approx([hit.score for hit in hits])
    assert engine.search(text="猫", filter="size < 0").to_pandas().empty


def test_unit_rows_are_normalised_once(engine):
    rows = np.array(engine.folder.read(["embedding"])["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(engine.embed_texts(SENTENCES), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "either a text or an image"),
        ({"text": "猫", "image": Image.new("RGB", (9, 9))}, "either a text or an image"),
        ({"text": "猫", "k": 0}, "k is 0"),
        ({"text": " "}, "blank|empty"),
        ({"text": "猫", "filter": "size >"}, "size >"),
        ({"image": b"no image"}, "image"),
    ],
)
def test_queries_that_mean_nothing_are_refused(engine, query, message):
    with pytest.raises(ValueError, match=message):
        engine.search(**query)


def test_sentence_of_unknown_tokens_only_is_told(engine, caplog):
    assert len(engine.search(text="ЖЖЖ", k=2)) == 2
    assert "queries" in caplog.text


def test_more_than_there_are_gives_all(engine):
    assert len(engine.search(text="猫", k=1000)) == COUNT


def test_another_model_is_refused_with_both_hashes(photos, tmp_path):
    model = save_tiny_folder(tmp_path / "other")
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    model.save_pretrained(tmp_path / "other")
    made_by = IndexFolder.open(photos).manifest.embedded_by
    engine = SearchEngine.open(photos, model=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=rf"hash {made_by.model_hash}; .*other has [0-9a-f]{{16}}"):
        engine.search(text="猫")
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="model"):
        SearchEngine.open(photos).search(text="猫")
    assert SearchEngine.open(photos, model=str(tmp_path / "moved")).search(text="猫", k=1)


def test_index_that_was_lost_or_damaged_is_made_again_from_the_shards(photos):
    expected = SearchEngine.open(photos).search(text="猫", k=99)
    for path in (photos / "faiss").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    assert SearchEngine.open(photos).search(text="猫", k=99) == expected
    for path in (photos / "faiss").iterdir():
        path.unlink()
    assert SearchEngine.open(photos).search(text="猫", k=99) == expected


def test_few_new_rows_are_found_though_the_saved_index_lacks_them(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("wenlan.retrieval.vector_index.MAX_BEHIND", 0.1)
    saved = {path.name: path.stat().st_mtime_ns for path in (photos / "faiss").iterdir()}
    build_index(write_images(tmp_path / "more", 1, start=80), photos, options=OPTIONS)
    remove_rows(photos, where="path like '%003.png'")
    assert {path.name: path.stat().st_mtime_ns for path in (photos / "faiss").iterdir()} == saved
    found = {hit.id[-7:] for hit in SearchEngine.open(photos).search(text="猫", k=99)}
    assert found == {f"{number:03}.png" for number in {*range(COUNT), 80} - {3}}
    build_index(write_images(tmp_path / "more", 2, start=80), photos, options=OPTIONS)
    assert {path.name: path.stat().st_mtime_ns for path in (photos / "faiss").iterdir()} != saved
    remove_rows(photos, where="path like '%004.png'")
    compact_index(photos)
    assert len(SearchEngine.open(photos)) == COUNT


def test_index_of_another_folder_is_not_taken_for_this_one(photos, tmp_path):
    images = write_images(tmp_path / "others", COUNT, start=40)
    build_index(images, tmp_path / "b", model=model_of(tmp_path), options=OPTIONS)
    for path in (tmp_path / "b" / "faiss").iterdir():
        (photos / "faiss" / path.name).write_bytes(path.read_bytes())
    assert all("photos" in hit.id for hit in SearchEngine.open(photos).search(text="猫", k=99))


def test_damaged_shard_is_named_and_the_rest_is_searched(photos):
    folder = IndexFolder.open(photos)
    path = folder.path(folder.manifest.shards[1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedShardError, match=rf"{path.name}.*--skip-damaged"):
        SearchEngine.open(photos)
    for file in (photos / "faiss").iterdir():
        file.unlink()
    engine = SearchEngine.open(photos, skip_damaged=True)
    assert (len(engine), engine.folder.damaged) == (COUNT - 8, (path.name,))


def test_folder_that_may_not_be_written_can_be_searched(photos):
    for file in (photos / "faiss").iterdir():
        file.unlink()
    photos.chmod(0o555)
    try:
        assert len(SearchEngine.open(photos)) == COUNT
    finally:
        photos.chmod(0o755)
    assert not any((photos / "faiss").iterdir())


def test_folder_without_an_index_and_one_with_another_manifest_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="wenlan index build"):
        SearchEngine.open(tmp_path)
    write_json(tmp_path / "manifest.json", {"model": "x"})
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest of an index"):
        SearchEngine.open(tmp_path)
