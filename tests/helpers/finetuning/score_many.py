"""Scores texts with images into a folder: `python score_many.py FOLDER`. Killed by the test, and started again."""

import sys
from pathlib import Path

import torch
from helpers.finetuning.scored_pairs import build_scorer_parts, make_texts
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.pipelines.pair_scoring import PairScorer

TEXTS, ROWS = make_texts(160), 8

if __name__ == "__main__":
    torch.set_num_threads(1)
    score_matrix(PairScorer(*build_scorer_parts(), batch_size=16), TEXTS, Path(sys.argv[1]), rows_per_shard=ROWS)
