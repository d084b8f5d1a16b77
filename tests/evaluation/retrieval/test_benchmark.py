import numpy as np
import pytest
from wenlan.evaluation.retrieval.benchmark import RetrievalTest, choose_captions, mean_recalls

IMAGES, TEXTS = [4, 2, 4, 7, 2, 4], ["4a", "2a", "4b", "7a", "2b", "4c"]


def test_all_captions_of_the_images_that_are_judged_on():
    texts, owners, images = choose_captions(IMAGES, TEXTS, [2, 4, 5])
    assert texts == ["2a", "2b", "4a", "4b", "4c"]
    assert owners.tolist() == [0, 0, 1, 1, 1]
    assert images == [2, 4]


def test_second_caption_where_there_is_one_else_the_first():
    texts, owners, images = choose_captions(IMAGES, TEXTS, [4, 7, 2], caption=2)
    assert texts == ["4b", "7a", "2b"]
    assert owners.tolist() == [0, 1, 2]
    assert images == [4, 7, 2]


def test_folds_have_their_own_images_and_captions():
    test = RetrievalTest(list("abcdef"), np.array([0, 0, 1, 2, 3, 3]), ["p", "q", "r", "s"])
    first, second = test.folds(2)
    assert (first.texts, first.owners.tolist(), first.images) == (["a", "b", "c"], [0, 0, 1], ["p", "q"])
    assert (second.texts, second.owners.tolist(), second.images) == (["d", "e", "f"], [0, 1, 1], ["r", "s"])


def test_images_that_cannot_be_cut_into_folds_are_refused():
    with pytest.raises(ValueError, match="3 images cannot be cut into 2 equal folds"):
        RetrievalTest(["a", "b", "c"], np.arange(3), [0, 1, 2]).folds(2)


def test_mean_over_folds_has_the_chance_of_the_mean_recall():
    folds = [{"t2i_R@1": 10.0, "t2i_chance_R@1": 2.0, "i2t_chance_R@1": 4.0}] * 2
    folds[1] = folds[1] | {"t2i_R@1": 30.0}
    assert mean_recalls(folds)["t2i_R@1"] == 20
    assert mean_recalls(folds)["chance_mean_recall"] == 3
