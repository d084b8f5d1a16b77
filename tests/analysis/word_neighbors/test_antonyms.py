import numpy as np
import pytest
from wenlan.analysis.word_neighbors.antonyms import (
    compare_ranks,
    neighbors_of_ranks,
    others_as_near,
    pair_ranks,
    read_antonyms,
    target_ranks,
)
from wenlan.analysis.word_neighbors.controls import random_like


def test_own_pairs_are_many_and_each_word_is_in_one():
    pairs = read_antonyms()
    words = [word for pair in pairs for word in pair]
    assert len(pairs) >= 50
    assert len(set(words)) == len(words)
    assert ("成功", "失败") in pairs


@pytest.mark.parametrize("line", ["成功", "成功 失败", "成功\t成功", "成功\t失败\t胜利", "成功\t"])
def test_line_that_is_no_pair_is_told(tmp_path, line):
    path = tmp_path / "pairs.tsv"
    path.write_text(f"大\t小\n\n{line}\n", "utf-8")
    with pytest.raises(ValueError, match=r"pairs.tsv, line 3: .* give two words with a tab"):
        read_antonyms(path)
    with pytest.raises(FileNotFoundError, match="give pairs of words"):
        read_antonyms(tmp_path / "none.tsv")


def test_ranks_are_places_among_all_other_words():
    rows = random_like(np.empty((300, 8)), seed=0)
    pairs = np.random.default_rng(1).permutation(300)[:200].reshape(-1, 2)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1)
    there = [1 + order[one].tolist().index(other) for one, other in pairs]
    back = [1 + order[other].tolist().index(one) for one, other in pairs]
    assert target_ranks(rows, pairs[:, 0], pairs[:, 1]).tolist() == there
    np.testing.assert_allclose(pair_ranks(rows, pairs, pairs[:, ::-1]), np.sqrt(np.multiply(there, back)))


def test_pairs_that_move_apart_are_found():
    before = np.arange(1.0, 61)
    found = compare_ranks(before, 2 * before, 2 * before)
    assert found["after"] == 2 * found["before"]
    assert found["log2_ratio"]["mean"] == pytest.approx(1)
    assert found["log2_ratio"]["p"] < 0.001
    assert found["log2_ratio_to_others"]["mean"] == 0  # but no more than others that were as near


def test_control_is_the_neighbour_next_after_the_antonym():
    rows = random_like(np.empty((300, 8)), seed=0)
    pairs = np.random.default_rng(1).permutation(300)[:100].reshape(-1, 2)
    others = others_as_near(rows, pairs)
    for side in (0, 1):
        ranks = target_ranks(rows, pairs[:, side], pairs[:, 1 - side])
        next_ranks = target_ranks(rows, pairs[:, side], others[:, side])
        assert (np.abs(next_ranks - ranks) == 1).all()
        assert ((next_ranks > ranks) | (ranks == 299)).all()
        assert neighbors_of_ranks(rows, pairs[:, side], ranks).tolist() == pairs[:, 1 - side].tolist()
