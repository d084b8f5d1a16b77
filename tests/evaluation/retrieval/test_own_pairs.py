import numpy as np
import pytest
from datasets import Dataset
from datasets import Image as ImageFeature
from wenlan.data import BadRowReport
from wenlan.data.pairs.splits import hold_out
from wenlan.data.rows.vocabulary import VocabularyCounts
from wenlan.evaluation import retrieval_recalls
from wenlan.evaluation.retrieval import pair_set
from wenlan.evaluation.retrieval.confidence_interval import mean_recall_interval
from wenlan.evaluation.retrieval.own_pairs import PairScores, evaluate_pairs
from wenlan.evaluation.retrieval.pair_set import PairSet
from wenlan.processing import build_character_tokenizer

TOKENIZER = build_character_tokenizer(["红猫", "blue dog"], max_length=9)


def rows_of(*pairs):
    rows = Dataset.from_list([{"image": {"bytes": image, "path": None}, "text": text} for image, text in pairs])
    return rows.cast_column("image", ImageFeature(decode=False))


def evaluate(pairs, t2i):
    """Metrics of (texts, images) scores."""
    counts = VocabularyCounts(TOKENIZER)
    counts.add(pairs.texts)
    return evaluate_pairs(
        pairs, PairScores(lambda rows: t2i[rows], lambda rows: t2i.T[rows]), counts, BadRowReport("x")
    )


def test_images_are_told_by_their_bytes_and_captions_apart_from_case_and_space():
    pairs = PairSet.from_rows(rows_of((b"1", ["A cat", "a dog"]), (b"2", ["a  CAT"]), (b"1", ["a bird", "a dog"])))
    assert pairs.texts == ["A cat", "a dog", "a bird"]
    assert pairs.row_of_image.tolist() == [0, 1]
    assert pairs.links.tolist() == [[0, 0], [0, 1], [1, 0], [2, 0]]
    assert pairs.num_pairs == 5
    assert list(pairs.images()) == [b"1", b"2"]


def test_metrics_are_those_of_the_recall_code_where_every_caption_has_one_image():
    rng = np.random.default_rng(0)
    owners = np.arange(21) // 3
    pairs = PairSet.from_rows(rows_of(*((bytes([owner]), f"text {n}") for n, owner in enumerate(owners))))
    scores = rng.normal(size=(21, 7)) + 2 * (owners[:, None] == np.arange(7))
    found = evaluate(pairs, scores).metrics
    expected = retrieval_recalls(scores, owners)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["intervals"]["mean_recall"] == pytest.approx(mean_recall_interval([(scores, owners)]))
    ranks = [int((row >= row[owner]).sum()) for row, owner in zip(scores, owners, strict=True)]
    assert found["t2i_median_rank"] == np.median(ranks)
    assert found["t2i_mean_rank"] == pytest.approx(np.mean(ranks))


def test_equal_captions_of_two_images_are_right_for_both():
    pairs = PairSet.from_rows(rows_of((b"1", "猫"), (b"2", "猫 "), (b"3", "狗")))
    scores = np.array([[0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])  # 猫 finds the second of its images
    evaluation = evaluate(pairs, scores)
    found = evaluation.metrics
    assert (found["t2i_R@1"], found["i2t_R@1"]) == (100, pytest.approx(200 / 3))  # the first image's scores are ties
    assert found["t2i_chance_R@1"] == pytest.approx(50)  # of 2 of 3 and 1 of 3
    assert found["shared_captions"] == 1
    assert "1 captions are those of several images" in str(evaluation)
    assert all(0 <= low <= high <= 100 for low, high in found["intervals"].values())


def test_blocks_of_scores_give_what_the_whole_matrix_gives(monkeypatch):
    rng = np.random.default_rng(1)
    pairs = PairSet.from_rows(rows_of(*((bytes([n % 11]), f"text {n % 13}") for n in range(29))))
    scores = rng.normal(size=(13, 11))
    whole = evaluate(pairs, scores).metrics
    monkeypatch.setattr(pair_set, "CELLS", 40)
    assert evaluate(pairs, scores).metrics == whole


def test_scores_that_are_not_finite_are_refused():
    pairs = PairSet.from_rows(rows_of((b"1", "猫"), (b"2", "狗")))
    with pytest.raises(ValueError, match="NaN or infinity"):
        evaluate(pairs, np.array([[0.0, np.nan], [0.0, 1.0]]))


@pytest.mark.parametrize("pairs", [[(b"1", "a"), (b"1", "b")], [(b"1", "a"), (b"2", "A ")], [(b"1", "a")]])
def test_too_few_to_compare_is_refused(pairs):
    with pytest.raises(ValueError, match="nothing to compare"):
        PairSet.from_rows(rows_of(*pairs))


@pytest.mark.parametrize(("images", "held"), [(3, 0), (5, 1), (20, 4), (100, 20), (400, 50), (700, 70)])
def test_held_out_are_so_many_images_whatever_the_order_of_the_rows(images, held):
    rows = rows_of(*((f"{n % images}".encode(), f"text {n}") for n in range(images + 3)))
    train, test = hold_out(rows)
    assert len(train) + len(test) == images + 3
    keys = {image["bytes"] for image in test["image"]}
    assert len(keys) == held
    assert keys.isdisjoint(image["bytes"] for image in train["image"])
    assert {image["bytes"] for image in hold_out(rows.select(range(len(rows))[::-1]))[1]["image"]} == keys
