import time

import numpy as np
import pyarrow as pa
import pytest
from helpers.index_rows import DIM, QUERIES, assert_best, make_rows
from wenlan.retrieval.filters import Filter
from wenlan.retrieval.indexes.milvus import MilvusIndex

ROWS = make_rows(range(40))


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return str(tmp_path_factory.mktemp("milvus") / "deeper" / "index.db")


def test_state_is_written_after_the_rows_so_that_work_is_repeated_never_lost(uri, tmp_path):
    index = MilvusIndex(DIM, uri=uri, collection="crash", owner="one")
    index.add(ROWS.slice(0, 20))
    index.state = {"next_key": 20}
    index.save(tmp_path)
    index.add(ROWS.slice(20))  # and killed before it is saved
    index.close()
    again = MilvusIndex.load(tmp_path)
    assert again.state == {"next_key": 20}
    again.add(ROWS.slice(20))
    assert_best(again, ROWS, k=5)


def test_collection_of_another_owner_is_not_replaced_and_the_own_one_is(uri, tmp_path):
    index = MilvusIndex(DIM, uri=uri, collection="owned", owner="one")
    index.add(ROWS)
    index.save(tmp_path)
    with pytest.raises(ValueError, match=r"'owned' in Milvus at .* is of 'one', not of 'two'; choose another name"):
        MilvusIndex(DIM, uri=uri, collection="owned", owner="two")
    assert len(MilvusIndex.load(tmp_path)) == 40
    assert len(MilvusIndex(DIM, uri=uri, collection="owned", owner="one")) == 0
    with pytest.raises(ValueError, match="has no collection 'owned'; build it again"):
        MilvusIndex.load(tmp_path)


def test_server_that_is_not_there_is_said_in_one_line_and_soon():
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"Milvus at http://127\.0\.0\.1:9 .*server unavailable") as error:
        MilvusIndex(DIM, uri="http://127.0.0.1:9", collection="rows", owner="one")
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 20


def test_token_is_read_from_the_environment_and_not_saved(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "someone:hunter2")
    MilvusIndex(DIM, uri=uri, collection="tokens", owner="one").save(tmp_path)
    saved = (tmp_path / "milvus.json").read_text("utf-8")
    assert "someone" not in saved
    assert "hunter2" not in saved
    with pytest.raises(ValueError, match="holds a password; set MILVUS_TOKEN=") as error:
        MilvusIndex(DIM, uri="http://someone:hunter2@127.0.0.1:9", collection="rows", owner="one")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"dim": 32}'])
def test_damaged_notes_are_named(tmp_path, content):
    (tmp_path / "milvus.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"milvus\.json is"):
        MilvusIndex.load(tmp_path)


def test_what_milvus_does_not_hold_is_refused_before_anything_is_added(uri):
    index = MilvusIndex(DIM, uri=uri, collection="refused", owner="one")
    with pytest.raises(ValueError, match="'text' holds a text of 90,000 bytes; Milvus takes 65,535"):
        index.add(make_rows(range(4), text="猫" * 30_000))
    with pytest.raises(ValueError, match="Milvus takes no column of the name 'lens model'"):
        index.add(ROWS.rename_columns({"lang": "lens model"}))
    assert len(index) == 0
    index.add(ROWS)
    assert_best(index, ROWS, k=3)


def test_more_rows_than_milvus_gives_at_once_are_refused(uri, monkeypatch):
    monkeypatch.setattr("wenlan.retrieval.indexes.milvus.MOST", 30)
    index = MilvusIndex(DIM, uri=uri, collection="many", owner="one")
    index.add(ROWS)
    assert_best(index, ROWS, k=29)
    with pytest.raises(ValueError, match="k is 31; Milvus gives 30 rows at most"):
        index.search(QUERIES, 31)
    index.remove(np.arange(10, 40))
    assert_best(index, ROWS.slice(0, 10), k=31)


def test_quotes_and_wildcards_of_texts_stay_what_they_are(uri):
    texts = ['say "cat"', "it's", "100%", "1000", r"a\b", "a_b", "axb", 'x" or key >= 0 or path == "', "猫", None]
    index = MilvusIndex(DIM, uri=uri, collection="texts", owner="one")
    rows = make_rows(range(10))
    rows = rows.set_column(rows.schema.get_field_index("text"), "text", pa.array(texts))
    index.add(rows)
    for text in texts[:-1]:
        quoted = text.replace("'", "''")
        assert_best(index, rows, k=3, where=f"text = '{quoted}'")
        assert index.search(QUERIES[:1], 1, where=Filter.parse(f"text = '{quoted}'"))[1][0, 0] == texts.index(text)
    assert index.search(QUERIES[:1], 2, where=Filter.parse(r"text like 'a\_b'"))[1].tolist() == [[5, -1]]
