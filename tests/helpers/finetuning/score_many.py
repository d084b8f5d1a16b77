"""Scores texts with images into a folder. Killed by the test, and started again."""

from pathlib import Path

from helpers.finetuning.scored_pairs import build_scorer_parts, make_texts
from wenlan.evaluation.retrieval.score_matrix import score_matrix
from wenlan.pipelines.pair_scoring import PairScorer

TEXTS, ROWS = make_texts(160), 8


def main(folder: Path) -> None:
    score_matrix(PairScorer(*build_scorer_parts(), batch_size=16), TEXTS, folder, rows_per_shard=ROWS)
