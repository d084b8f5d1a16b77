"""Agreement of languages."""

import pytest
import torch
from wenlan.analysis import jensen_shannon, language_pairs
from wenlan.analysis.region_attention.similarity import divergence_table, summarize_pairs

CAT, DOG = [0.9, 0.1, 0.0], [0.0, 0.2, 0.8]
WEIGHTS = {"zh": torch.tensor([CAT, DOG]), "en": torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.2, 0.7]])}


def test_divergence_lies_between_equal_and_disjoint():
    assert jensen_shannon(torch.tensor(CAT), torch.tensor(CAT)) == 0
    assert jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])) == 1
    # half of log2(4/3) + (log2(2/3) + log2(2)) / 2, by hand
    assert float(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))) == pytest.approx(
        0.3112781, abs=1e-6
    )


def test_word_is_compared_with_its_translation_and_with_other_words():
    (pair,) = language_pairs(WEIGHTS)
    assert pair.languages == ("zh", "en")
    assert pair.divergence[0, 1] == jensen_shannon(WEIGHTS["zh"][0], WEIGHTS["en"][1])
    assert pair.translations.tolist() == [pair.divergence[0, 0], pair.divergence[1, 1]]
    assert pair.different_words.tolist() == [pair.divergence[0, 1], pair.divergence[1, 0]]
    assert pair.is_closer.tolist() == [True, True]
    (swapped,) = language_pairs(WEIGHTS | {"en": WEIGHTS["en"].flip(0)})
    assert swapped.is_closer.tolist() == [False, False]


def test_summary_counts_pairs_of_all_images_by_their_image():
    seen = {}

    def interval(scores, images):
        seen["scores"], seen["images"] = scores.tolist(), images.tolist()
        return [0.1, 0.9]

    swapped = WEIGHTS | {"en": WEIGHTS["en"].flip(0)}
    found = summarize_pairs([language_pairs(WEIGHTS), language_pairs(swapped)], interval)
    assert seen == {"scores": [1, 1, 0, 0], "images": [0, 0, 1, 1]}
    assert (found["pairs"], found["fraction"], found["interval"], found["chance"]) == (4, 0.5, [0.1, 0.9], 0.5)
    assert found["translations"] == pytest.approx(found["different_words"])


def test_sentence_of_one_word_has_no_pair():
    found = summarize_pairs([language_pairs({one: weights[:1] for one, weights in WEIGHTS.items()})], None)
    assert (found["pairs"], found["fraction"], found["different_words"]) == (0, None, None)
    assert found["translations"] > 0


def test_table_has_the_divergence_of_each_two_languages():
    table = divergence_table([WEIGHTS | {"de": WEIGHTS["en"]}])
    assert list(table) == ["zh-en", "zh-de", "en-de"]
    assert table["en-de"]["translations"] == 0
    assert torch.tensor(table["zh-en"]["words"]).shape == (2, 2)
