import shutil
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
import torch
from helpers.index_rows import DIM, QUERIES, VECTORS, assert_best, clustered_rows, make_rows
from wenlan.retrieval.filters import Filter
from wenlan.retrieval.indexes import faiss as faiss_index
from wenlan.retrieval.indexes.faiss import FaissIndex

ROWS = make_rows(range(300))


def saved_index(folder, rows=ROWS):
    index = FaissIndex(DIM)
    index.add(rows)
    index.state = {"next_key": len(rows)}
    index.save(folder)
    return index


def test_interrupted_save_leaves_rows_and_state_of_before(tmp_path, monkeypatch):
    index = saved_index(tmp_path)
    index.remove(np.arange(100))
    index.state = {"next_key": 400}

    def killed(*_):
        raise KeyboardInterrupt

    for name in ("hash_file", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(faiss_index, name, killed)
            with pytest.raises(KeyboardInterrupt):
                index.save(tmp_path)
        loaded = FaissIndex.load(tmp_path)
        assert loaded.state == {"next_key": 300}
        assert_best(loaded, ROWS, k=5)
    index.save(tmp_path)
    assert len(FaissIndex.load(tmp_path)) == 200
    assert len(list(tmp_path.iterdir())) == 3  # nothing is left over


def test_loaded_index_works_on_after_another_was_saved_in_its_place(tmp_path):
    saved_index(tmp_path)
    reader = FaissIndex.load(tmp_path)
    saved_index(tmp_path, make_rows(range(50)))
    assert_best(reader, ROWS, k=5, where="lang = 'zh'")
    assert reader.fetch(np.array([299]))["id"].to_pylist() == ["image 299"]


@pytest.mark.parametrize("pattern", ["vectors-*.faiss", "rows-*.arrow"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_file_is_named(tmp_path, pattern, damage):
    saved_index(tmp_path)
    [path] = tmp_path.glob(pattern)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:-100])
    with pytest.raises(ValueError, match=f"{path.name} is damaged or missing; remove"):
        FaissIndex.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": 1}', '{"version": 2}', '{"version": 1, "dim": "x"}'])
def test_damaged_manifest_is_named(tmp_path, content):
    saved_index(tmp_path)
    (tmp_path / "index.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"index\.json is"):
        FaissIndex.load(tmp_path)


def test_files_of_two_indexes_are_not_taken_together(tmp_path):
    saved_index(tmp_path / "one")
    saved_index(tmp_path / "two", make_rows(range(20)))
    [vectors] = (tmp_path / "two").glob("vectors-*")
    shutil.copy(vectors, next((tmp_path / "one").glob("vectors-*")))
    hashes = (tmp_path / "one" / "index.json").read_text("utf-8").splitlines()
    name = f'"{vectors.name}"'
    other = (tmp_path / "two" / "index.json").read_text("utf-8").splitlines()
    lines = [next(new for new in other if name in new) if name in line else line for line in hashes]
    (tmp_path / "one" / "index.json").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match="are not of one index"):
        FaissIndex.load(tmp_path / "one")


def test_folder_without_an_index_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        FaissIndex.load(tmp_path)


def test_new_lists_hold_the_same_codes():
    """What grew is put into new lists; that must not wear the 8-bit codes down."""
    vectors = clustered_rows(5_000)
    index = FaissIndex(DIM, flat_rows=500, nprobe=10_000)
    index.add(make_rows(range(1_000), vectors=vectors))
    before, lists = index.search(QUERIES, 20), index._index.nlist
    index.add(make_rows(range(1_000, 5_000), vectors=vectors))
    assert index._index.nlist > lists
    scores, keys = index.search(QUERIES, 20, where=Filter.parse("size < 1000"))
    np.testing.assert_array_equal(keys, before[1])
    np.testing.assert_allclose(scores, before[0], atol=1e-6)


def test_filter_that_leaves_a_tenth_of_the_rows_is_searched_in_more_lists():
    """The best of few rows lie in lists that are farther from the query than those of all rows."""
    index = FaissIndex(DIM, flat_rows=500, nprobe=16)
    index.add(make_rows(range(4_000)))
    found = index.search(QUERIES, 10, where=Filter.parse("size < 400"))[1]
    expected = np.argsort(-QUERIES @ VECTORS[:400].T.astype(np.float32), axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), expected.tolist(), strict=True)]) > 0.95


def test_two_builds_give_the_same_answers():
    def build():
        index = FaissIndex(DIM, flat_rows=500, nprobe=3)
        index.add(make_rows(range(2_000), vectors=clustered_rows(2_000)))
        return index.search(QUERIES, 10)

    (scores, keys), (scores_again, keys_again) = build(), build()
    np.testing.assert_array_equal(keys, keys_again)
    np.testing.assert_array_equal(scores, scores_again)


def test_large_and_few_keys_take_no_memory_for_those_between():
    keys = np.array([3, 2**40, 2**62])
    rows = make_rows(range(3)).set_column(0, "key", [keys])
    index = FaissIndex(DIM)
    index.add(rows)
    assert sorted(index.search(QUERIES[:1], 3, where=Filter.parse("size >= 1"))[1][0].tolist()) == [-1, *keys[1:]]


def test_faiss_works_with_as_many_threads_as_torch_in_every_thread():
    index, threads = FaissIndex(DIM), torch.get_num_threads()
    index.add(ROWS)

    def used(_):
        index.search(QUERIES, 1)
        return faiss.omp_get_max_threads()

    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            with ThreadPoolExecutor(1) as pool:
                assert list(pool.map(used, range(2))) == [number, number]
    finally:
        torch.set_num_threads(threads)
