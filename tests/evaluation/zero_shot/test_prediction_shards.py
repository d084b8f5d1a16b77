"""Shards of predictions: what is read is what was written, and damage is found."""

import numpy as np
import pytest
from wenlan.data.rows.report import BadRowError, BadRowReport
from wenlan.evaluation.zero_shot.prediction_shards import Piece, Predictions, PredictionShards


def piece(count, seed=0):
    rng = np.random.default_rng(seed)
    top = rng.integers(9, size=(2, count, 5)).astype(np.int32)
    found = Predictions(top[0], rng.random((count, 5), np.float32), rng.random(count, np.float32), top[1])
    names = [f"{seed}/{number}.png" for number in range(count)]
    bad = [(f"{seed}/bad.png", BadRowError("truncated", "ends too early"))]
    return Piece(names, rng.integers(9, size=count).astype(np.int32), {"zh {}": found, "zh ensemble": found}, bad)


def same(one, other):
    assert one.names == other.names
    np.testing.assert_array_equal(one.labels, other.labels)
    for setting, found in one.settings.items():
        for ours, theirs in zip(found, other.settings[setting], strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype


@pytest.fixture
def shards(tmp_path):
    shards = PredictionShards(tmp_path, 9, {"model": "a"}, size=4)
    for number, count in enumerate((3, 0)):  # of 4 images one and of 1 image all are bad, the last shard is missing
        shards.write(2 * number, piece(count, seed=number))
    return shards


def test_shards_are_read_as_they_were_written(shards):
    assert shards.pending() == [1]
    same(shards.read(0), piece(3))
    same(shards.read(2), piece(0, seed=1))
    assert [(name, error.cause, error.found) for name, error in shards.read(0).bad] == [
        ("0/bad.png", "truncated", "ends too early")
    ]


def test_all_shards_are_read_as_one_and_counted(shards):
    shards.write(1, piece(3, seed=2))
    found, report = shards.read_all(report := BadRowReport("x")), report
    assert found.names == [f"{seed}/{number}.png" for seed in (0, 2) for number in range(3)]
    assert found.settings["zh ensemble"].top.shape == (6, 5)
    assert (report.rows_kept, report.counts) == (6, {"truncated": 3})


def test_damaged_shard_is_made_again(shards):
    content = bytearray(shards.path(0).read_bytes())
    content[20:60] = bytes(40)
    shards.path(0).write_bytes(content)
    assert shards.pending() == [0, 1]


def test_other_settings_are_refused(shards, tmp_path):
    with pytest.raises(ValueError, match="model is 'a' there and 'b' now"):
        PredictionShards(tmp_path, 9, {"model": "b"}, size=4)
