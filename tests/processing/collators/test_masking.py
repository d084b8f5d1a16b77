import json

import numpy as np
import pytest
from helpers.paths import FIXTURES
from wenlan.processing.collators.masking import NO_LABEL, mask_regions, mask_words

RULES = json.loads((FIXTURES / "mlmm" / "metrics" / "training_rules.json").read_text("utf-8"))
MASK, ORDINARY = 999, np.arange(4, 999)


def mask(length, seed):
    ids = np.arange(100, 102 + length)
    is_word = np.ones(length + 2, bool)
    is_word[[0, -1]] = False
    return ids, *mask_words(ids, is_word, np.random.default_rng(seed), mask_token_id=MASK, ordinary_ids=ORDINARY)


def test_words_are_masked_as_often_as_in_the_references():
    """Lengths 1..20 equally often, as the golden rates were observed; tolerance four standard errors."""
    chosen = masked = kept = words = 0
    for seed in range(4000):
        length = seed % 20 + 1
        ids, hidden, labels = mask(length, seed)
        at = labels != NO_LABEL
        words += length
        chosen += at.sum()
        masked += (hidden[at] == MASK).sum()
        kept += (hidden[at] == ids[at]).sum()
    golden = RULES["text_masking"]
    assert words == golden["words"]
    assert chosen / words == pytest.approx(golden["selected_fraction"], abs=0.008)
    assert masked / chosen == pytest.approx(golden["of_selected"]["mask"], abs=0.018)
    assert kept / chosen == pytest.approx(golden["of_selected"]["kept"], abs=0.014)


def test_labels_are_what_stood_there():
    ids, hidden, labels = mask(40, 1)
    at = labels != NO_LABEL
    assert 0 < at.sum() < 40
    assert np.array_equal(labels[at], ids[at])
    assert np.array_equal(hidden[~at], ids[~at])


def test_special_tokens_are_never_chosen():
    assert all(mask(3, seed)[2][[0, -1]].tolist() == [NO_LABEL, NO_LABEL] for seed in range(200))


def test_first_word_is_masked_where_chance_chooses_none():
    found = [labels for seed in range(200) for _, hidden, labels in [mask(1, seed)] if hidden[1] == MASK]
    assert all((mask(1, seed)[2] != NO_LABEL).sum() == 1 for seed in range(200))
    assert len(found) > 0.9 * 200  # of one word: 0.85 by the fallback, always as the mask, and 0.8 of the rest


def test_random_pieces_are_ordinary_ones():
    ids = np.full(3000, 5)
    hidden, _ = mask_words(
        ids, np.ones(3000, bool), np.random.default_rng(0), mask_token_id=1, ordinary_ids=np.array([7, 9])
    )
    assert set(hidden) == {1, 5, 7, 9}


def test_input_is_left_as_it_was():
    ids, hidden, _ = mask(40, 1)
    assert np.array_equal(ids, np.arange(100, 142))
    assert not np.array_equal(ids, hidden)


def test_same_seed_masks_the_same_and_another_seed_something_else():
    assert np.array_equal(mask(40, 3)[1], mask(40, 3)[1])
    assert not np.array_equal(mask(40, 3)[1], mask(40, 4)[1])


def test_text_without_words_is_refused():
    with pytest.raises(ValueError, match="without word pieces"):
        mask(0, 0)


def test_regions_are_masked_as_often_as_in_the_references():
    """Of n regions 0.15 + 0.85**n / n; the golden rate, whose counts are not told, is that of about 13."""
    fraction = np.mean([mask_regions(13, np.random.default_rng(seed)).mean() for seed in range(8000)])
    assert fraction == pytest.approx(0.15 + 0.85**13 / 13, abs=0.005)
    assert fraction == pytest.approx(RULES["region_masking"]["fraction"], abs=0.005)


def test_at_least_one_region_is_masked_and_not_always_the_first():
    masks = np.stack([mask_regions(3, np.random.default_rng(seed)) for seed in range(300)])
    assert masks.any(axis=1).all()
    assert masks.sum(axis=0).min() > 60


def test_image_without_regions_cannot_be_masked():
    with pytest.raises(ValueError, match="without regions"):
        mask_regions(0, np.random.default_rng(0))
