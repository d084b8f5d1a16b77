import json

import numpy as np
import pytest
from helpers.paths import FIXTURES
from wenlan.data.mlmm.batch_sampler import padding_fraction, token_budget_batches

RULES = FIXTURES / "mlmm" / "metrics" / "training_rules.json"
GOLDEN = json.loads(RULES.read_text("utf-8"))["token_bucket"]
LENGTHS = np.array(GOLDEN["lengths"])


def golden_batches():
    """The buckets are cut in the given order; the reference shuffles first, which moves the padding by 0.3 points."""
    size = GOLDEN["bucket"]
    buckets = [np.arange(at, min(at + size, len(LENGTHS))) for at in range(0, len(LENGTHS), size)]
    options = {"token_budget": GOLDEN["budget"], "multiple": GOLDEN["multiple"]}
    return [bucket[batch] for bucket in buckets for batch in token_budget_batches(LENGTHS[bucket], **options)]


def test_batches_are_as_many_and_as_large_as_in_the_reference():
    batches = golden_batches()
    assert len(batches) == GOLDEN["n_batches"]
    assert max(len(batch) * LENGTHS[batch].max() for batch in batches) == GOLDEN["largest"]
    assert padding_fraction(LENGTHS, batches) == pytest.approx(GOLDEN["padding_fraction"], abs=0.005)


def test_every_example_is_in_one_batch():
    assert sorted(np.concatenate(golden_batches()).tolist()) == list(range(len(LENGTHS)))


def test_batches_are_multiples_of_eight_but_for_the_last():
    *batches, last = token_budget_batches(LENGTHS[:100], token_budget=1000)
    assert {len(batch) for batch in batches} == {8}
    assert len(last) == 4


def test_padded_share_counts_what_is_not_real():
    assert padding_fraction(np.array([10, 5, 3]), [np.array([0, 1]), np.array([2])]) == pytest.approx(5 / 23)


def test_no_examples_make_no_batches():
    assert token_budget_batches(np.zeros(0, int), token_budget=100) == []


def test_budget_that_is_too_small_names_the_one_needed():
    with pytest.raises(ValueError, match="give 800 or more"):
        token_budget_batches(np.array([100, 3]), token_budget=799)
