"""A process that scores, killed with SIGKILL twice and started again."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers.finetuning.score_many import ROWS, TEXTS
from helpers.finetuning.scored_pairs import build_scorer_parts
from helpers.paths import ENVIRONMENT
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.pipelines.pair_scoring import PairScorer

pytestmark = pytest.mark.slow
SHARDS = len(TEXTS) // ROWS


def start(folder):
    command = [sys.executable, "-m", "helpers.finetuning.score_many", str(folder)]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.glob("scores-*.npy")}


def test_matrix_of_a_killed_run_equals_that_of_an_undisturbed_one(tmp_path):
    torch.set_num_threads(1)
    folder, kept = tmp_path / "killed", {}
    for _ in range(2):
        process, wanted = start(folder), len(kept) + 4
        while process.poll() is None and len(shards(folder)) < wanted:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert wanted <= len(shards(folder)) < SHARDS
        assert all(shards(folder)[name] == data for name, data in kept.items())
        kept = shards(folder)
    assert start(folder).wait(120) == 0
    assert all(shards(folder)[name] == data for name, data in kept.items())
    scorer = PairScorer(*build_scorer_parts(), batch_size=16)
    whole = score_matrix(scorer, TEXTS, tmp_path / "whole", rows_per_shard=ROWS, progress=False)
    assert np.array_equal(score_matrix(scorer, TEXTS, folder, rows_per_shard=ROWS, progress=False), whole)
    assert shards(folder) == shards(tmp_path / "whole")
