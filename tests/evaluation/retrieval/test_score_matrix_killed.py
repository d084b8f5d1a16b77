"""A process that scores, killed with SIGKILL twice and started again."""

import signal
import time

import numpy as np
import pytest
import torch
from helpers import forked
from helpers.finetuning import score_many
from helpers.finetuning.score_many import ROWS, TEXTS
from helpers.finetuning.scored_pairs import build_scorer_parts
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.pipelines.pair_scoring import PairScorer

pytestmark = pytest.mark.slow
SHARDS = len(TEXTS) // ROWS


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.glob("scores-*.npy")}


def test_matrix_of_a_killed_run_equals_that_of_an_undisturbed_one(tmp_path):
    torch.set_num_threads(1)
    folder, kept = tmp_path / "killed", {}
    for _ in range(2):
        process, wanted = forked.start(score_many.main, folder, log=tmp_path / "log"), len(kept) + 4
        while process.is_alive() and len(shards(folder)) < wanted:
            time.sleep(0.001)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert wanted <= len(shards(folder)) < SHARDS
        assert all(shards(folder)[name] == data for name, data in kept.items())
        kept = shards(folder)
    forked.run(score_many.main, folder, log=tmp_path / "log")
    assert all(shards(folder)[name] == data for name, data in kept.items())
    scorer = PairScorer(*build_scorer_parts(), batch_size=16)
    whole = score_matrix(scorer, TEXTS, tmp_path / "whole", rows_per_shard=ROWS, progress=False)
    assert np.array_equal(score_matrix(scorer, TEXTS, folder, rows_per_shard=ROWS, progress=False), whole)
    assert shards(folder) == shards(tmp_path / "whole")
