"""Tokens beside the shards of an index: what was written is found by key, and scored as in training."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F
from wenlan.modeling_brivl import late_interaction_scores
from wenlan.retrieval.late_tokens import LateTokens, tokens_path, write_tokens

DIM = 12
COUNTS = {"a": [3, 1, 5], "b": [2, 2]}
KEYS = {"a": [7, 2, 9], "b": [40, 4]}


def random_tokens(count, seed):
    rows = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return F.normalize(rows, dim=1).half().numpy()


@pytest.fixture
def index(tmp_path):
    """Returns the paths of two shards, and the tokens of all rows by key."""
    shards, by_key = [], {}
    for name, counts in COUNTS.items():
        tokens = [random_tokens(count, seed=key) for count, key in zip(counts, KEYS[name], strict=True)]
        shards.append(tmp_path / f"rows-{name}.parquet")
        write_shard(shards[-1], KEYS[name], *write_tokens(shards[-1], tokens, dim=DIM))
        by_key |= dict(zip(KEYS[name], tokens, strict=True))
    return shards, by_key


def write_shard(path, keys, starts, counts):
    pq.write_table(pa.table({"key": keys, "token_start": starts, "token_count": counts}), path)


def test_scores_of_some_keys_are_those_of_their_tokens(index):
    shards, by_key = index
    query = random_tokens(4, seed=1)
    keys = [40, 2, 9, 2]
    expected = [
        late_interaction_scores(
            *(x for rows in (by_key[key], query) for x in (torch.from_numpy(rows)[None], torch.ones(1, len(rows))))
        ).item()
        for key in keys
    ]
    found = LateTokens.open(shards).scores(query, keys)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_read_gives_back_what_was_written_bit_by_bit(index):
    shards, by_key = index
    tokens, mask = LateTokens.open(shards).read(list(by_key))
    for found, real, expected in zip(tokens, mask, by_key.values(), strict=True):
        assert np.array_equal(found[real].numpy(), expected)
    assert tokens[~mask].abs().max() == 0


def test_files_are_mapped_and_hold_two_bytes_a_number(index):
    late = LateTokens.open(index[0])
    assert all(isinstance(array, np.memmap) for array in late.arrays)
    assert late.bytes_per_row == sum(map(sum, COUNTS.values())) * DIM * 2 / 5


def test_no_candidate_has_no_scores(index):
    assert LateTokens.open(index[0]).scores(random_tokens(4, seed=1), []).shape == (0,)


def test_unknown_key_is_named(index):
    with pytest.raises(KeyError, match="no tokens of key 8"):
        LateTokens.open(index[0]).scores(random_tokens(4, seed=1), [7, 8])


def test_no_shard_has_no_rows():
    with pytest.raises(KeyError, match="no tokens of key 3"):
        LateTokens.open([]).scores(random_tokens(4, seed=1), [3])


def test_shard_without_rows_can_be_opened(index, tmp_path):
    empty = tmp_path / "empty.parquet"
    write_shard(empty, *(np.empty(0, np.int64) for _ in range(3)))
    write_tokens(empty, [], dim=DIM)
    assert LateTokens.open([*index[0], empty]).keys.tolist() == sorted(index[1])


def test_query_of_another_size_is_refused(index):
    with pytest.raises(ValueError, match=r"The query has tokens \(4, 5\), the index \(any, 12\)"):
        LateTokens.open(index[0]).scores(random_tokens(4, seed=1)[:, :5], [7])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([np.ones((2, 5))], r"row 0 .* are \(2, 5\); they must be \(1 or more, 12\)"),
        ([np.ones((1, DIM)), np.ones((0, DIM))], r"row 1 .* are \(0, 12\)"),
        ([np.full((1, DIM), 1e6)], "not finite"),
    ],
)
def test_tokens_that_cannot_be_stored_are_refused_and_nothing_is_written(tokens, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_tokens(tmp_path / "rows.parquet", tokens, dim=DIM)
    assert list(tmp_path.iterdir()) == []


def test_missing_tokens_are_named(index):
    tokens_path(index[0][1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"rows-b.tokens.npy is missing"):
        LateTokens.open(index[0])


def test_tokens_cut_short_are_named(index):
    path = tokens_path(index[0][0])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"rows-a.tokens.npy is damaged"):
        LateTokens.open(index[0])


def test_pickle_in_place_of_tokens_is_not_run(index):
    np.save(tokens_path(index[0][0]), np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"rows-a.tokens.npy is damaged"):
        LateTokens.open(index[0])


def test_tokens_of_another_shard_are_refused(index):
    tokens_path(index[0][1]).replace(tokens_path(index[0][0]))
    with pytest.raises(ValueError, match=r"rows-a.tokens.npy is damaged: .* needs 9 tokens"):
        LateTokens.open(index[0])


def test_one_key_in_two_shards_is_refused(index, tmp_path):
    again = tmp_path / "again.parquet"
    write_shard(again, [7], *write_tokens(again, [random_tokens(2, seed=0)], dim=DIM))
    with pytest.raises(ValueError, match="one key"):
        LateTokens.open([*index[0], again])


def test_negative_place_of_tokens_is_refused(index):
    write_shard(index[0][1], KEYS["b"], [-2, 0], COUNTS["b"])
    with pytest.raises(ValueError, match=r"rows-b.parquet is damaged: token_start"):
        LateTokens.open(index[0])


def test_damaged_shard_is_named(index):
    index[0][0].write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"rows-a.parquet"):
        LateTokens.open(index[0])
