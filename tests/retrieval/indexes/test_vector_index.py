"""What faiss and Milvus (milvus-lite) have in common: the answers of a brute force over the stored 16-bit vectors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from helpers.index_rows import DIM, QUERIES, VECTORS, N, assert_best, clustered_rows, make_rows, unit_rows
from wenlan.retrieval.filters import Filter
from wenlan.retrieval.indexes.faiss import FaissIndex
from wenlan.retrieval.indexes.milvus import MilvusIndex

FILTERS = ["size < 300", "lang = 'zh' and not path like 'b/%'", "text is null or checked = true", "size = 77"]


@pytest.fixture(scope="module", params=["faiss", "milvus"])
def backend(request, tmp_path_factory):
    """Returns a function that makes an empty index of one backend."""
    path = tmp_path_factory.mktemp("milvus") / "index.db"

    def make(*, dim=DIM, name="other", **options):
        if request.param == "faiss":
            return FaissIndex(dim, **options)
        return MilvusIndex(dim, uri=str(path), collection=name, owner="tests", **options)

    return make


@pytest.fixture(scope="module")
def index(backend):
    """Returns an index of all rows, which no test changes; they were added out of order."""
    made = backend(name="all_rows")
    for keys in (np.arange(4_000, N), np.arange(4_000)[::-1]):
        made.add(make_rows(keys))
    return made


@pytest.mark.parametrize("k", [1, 10, 100])
def test_search_equals_brute_force(index, k):
    assert len(index) == N
    assert_best(index, make_rows(range(N)), k=k)


@pytest.mark.parametrize("where", FILTERS)
def test_search_among_filtered_rows_equals_brute_force(index, where):
    assert_best(index, make_rows(range(N)), k=20, where=where)


def test_equal_scores_are_in_the_order_of_keys_whatever_is_cut_off(index):
    for k in (1, 2, 5, 31):
        assert index.search(QUERIES[:1], k)[1][0].tolist() == [77, *range(6_000, 6_030)][:k]


def test_more_than_there_are_can_be_asked_for(index):
    assert_best(index, make_rows(range(N)), k=N + 5, queries=QUERIES[:2])


def test_filter_that_nothing_meets_finds_nothing(index):
    scores, keys = index.search(QUERIES, 3, where=Filter.parse("size < 0"))
    assert (keys == -1).all()
    assert np.isneginf(scores).all()


def test_no_query_gives_no_answer(index):
    scores, keys = index.search(np.zeros((0, DIM), np.float32), 3)
    assert scores.shape == keys.shape == (0, 3)


def test_threads_get_the_answers_of_one(index):
    expected = index.search(QUERIES, 5)[1]
    filtered = index.search(QUERIES, 5, where=Filter.parse(FILTERS[1]))[1]
    wheres = [None, Filter.parse(FILTERS[1])] * 4

    def search(where):
        return index.search(QUERIES, 5, where=where)

    with ThreadPoolExecutor(4) as pool:
        for where, (_, keys) in zip(wheres, pool.map(search, wheres), strict=True):
            np.testing.assert_array_equal(keys, expected if where is None else filtered)


def test_rows_are_fetched_in_the_order_of_keys_without_embeddings(index):
    keys = np.array([5, 9_000, 0, 5])
    expected = make_rows([5, 9_000, 0, 5]).drop_columns("embedding")
    assert index.fetch(keys).to_pylist() == expected.to_pylist()
    assert index.fetch(keys[:0]).to_pylist() == []
    with pytest.raises(ValueError, match=f"no row with the key {N} in"):
        index.fetch(np.array([5, N]))


def test_filter_on_an_unknown_column_is_refused(index):
    with pytest.raises(ValueError, match="no column 'sise'; did you mean 'size'"):
        index.search(QUERIES, 3, where=Filter.parse("sise = 1"))


def test_changed_saved_and_loaded_index_equals_brute_force(backend, tmp_path):
    index, vectors = backend(), VECTORS.copy()
    index.add(make_rows(range(0, 8_000)))
    index.remove(np.arange(0, 8_000, 3))
    index.remove(np.array([0, 3, 123_456]))  # not there (any more)
    vectors[100:200] = unit_rows(100, seed=2)
    replaced = make_rows(range(100, 200), vectors=vectors, text="second")
    index.add(replaced)
    rows = pa.concat_tables([make_rows([key for key in range(8_000) if key % 3 and not 100 <= key < 200]), replaced])
    for step in range(3):
        assert len(index) == len(rows)
        assert_best(index, rows, k=10)
        assert_best(index, rows, k=10, where="text = 'second' or size > 7000")
        index.state = {"next_key": 8_000 + step, "removals": 2**60}
        index.save(tmp_path / "index")
        index = type(index).load(tmp_path / "index")
        assert index.state == {"next_key": 8_000 + step, "removals": 2**60}
        if step == 0:
            more = make_rows(range(8_000, N))
            for _ in range(2):  # again, as after a kill
                index.add(more)
            rows = pa.concat_tables([rows, more])


def test_empty_and_emptied_indexes_find_nothing_and_take_rows(backend, tmp_path):
    index = backend()
    for _ in range(2):
        assert len(index) == 0
        assert (index.search(QUERIES, 3)[1] == -1).all()
        index.remove(np.array([1]))
        index.save(tmp_path / "index")
        index = type(index).load(tmp_path / "index")
        assert (index.search(QUERIES, 3)[1] == -1).all()
        index.add(make_rows([5, 3]))
        assert_best(index, make_rows([3, 5]), k=3)
        index.remove(np.array([3, 5]))


@pytest.mark.parametrize(
    ("queries", "k", "problem"),
    [
        (QUERIES[:, :-1], 3, "shape"),
        (QUERIES[0], 3, "shape"),
        (np.full((1, DIM), np.nan, np.float32), 3, "not finite"),
        (QUERIES, 0, "k is 0"),
    ],
)
def test_bad_queries_are_refused(index, queries, k, problem):
    with pytest.raises(ValueError, match=problem):
        index.search(queries, k)


def replaced_column(name, values):
    rows = make_rows(range(4))
    return rows.set_column(rows.schema.get_field_index(name), name, values)


BAD_ROWS = {
    "those of the index 32": make_rows(range(4), vectors=unit_rows(4, seed=0, dim=16)),
    "null or not finite": make_rows(range(4), vectors=np.full((4, DIM), np.inf, np.float16)),
    "fixed-size list": replaced_column("embedding", pa.array([[0.5] * DIM] * 4)),
    "each may stand once": replaced_column("key", pa.array([1, 2, 2, 3])),
    "0 or more": replaced_column("key", pa.array([1, 2, -2, 3])),
    "there is no 'id'": make_rows(range(4)).drop_columns("id"),
    "build it again": make_rows(range(4)).drop_columns("lang"),
    "'size' holds string, in the index int64": replaced_column("size", pa.array(["1", "2", "3", "4"])),
    "an index holds texts, numbers and booleans": replaced_column("size", pa.array([[1], [2], [3], [4]])),
}


@pytest.mark.parametrize("problem", BAD_ROWS)
def test_bad_rows_are_refused_and_change_nothing(backend, problem):
    index = backend()
    index.add(make_rows([1, 9]))
    with pytest.raises(ValueError, match=problem):
        index.add(BAD_ROWS[problem])
    assert len(index) == 2
    assert_best(index, make_rows([1, 9]), k=2)


def test_columns_of_other_widths_and_orders_are_taken(backend):
    index, rows = backend(), make_rows(range(6))
    index.add(rows)
    narrow = rows.set_column(rows.schema.get_field_index("size"), "size", rows["size"].cast(pa.int16()))
    wide = narrow.set_column(2, "embedding", rows["embedding"].cast(pa.list_(pa.float32(), DIM)))
    index.add(wide.select(wide.column_names[::-1]))
    assert index.fetch(np.arange(6)).to_pylist() == rows.drop_columns("embedding").to_pylist()
    assert_best(index, rows, k=6)


def test_lists_of_many_rows_find_nearly_all_and_with_a_narrow_filter_all(backend, tmp_path):
    vectors = clustered_rows(6_000)
    index, rows = backend(flat_rows=1_000, nprobe=8), make_rows(range(6_000), vectors=vectors)
    for start in range(0, 6_000, 1_200):
        index.add(rows.slice(start, 1_200))
    index.remove(np.arange(0, 6_000, 7))
    index.save(tmp_path)
    index, keys = type(index).load(tmp_path), np.setdiff1d(np.arange(6_000), np.arange(0, 6_000, 7))
    queries = clustered_rows(30, seed=9).astype(np.float32)
    expected = keys[np.argsort(-queries @ vectors[keys].T.astype(np.float32), axis=1)[:, :10]]
    found = index.search(queries, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), expected.tolist(), strict=True)]) > 0.9
    assert not np.isin(found, np.arange(0, 6_000, 7)).any()
    narrow = index.search(queries, 10, where=Filter.parse("size >= 3000 and size < 3012"))[1]
    assert all(set(row) == {*range(3_000, 3_012)} - {3_003, 3_010} for row in narrow.tolist())
    assert (np.sort(index.search(queries[:2], 5_500)[1], axis=1)[:, -len(keys) :] == keys).all()
