import random
from collections import Counter

import pytest
from wenlan.data.pairs.report_statistics import CANDIDATES, DuplicateCounter, quantiles


def test_value_that_comes_often_is_found_after_many_that_came_twice():
    repeats = DuplicateCounter(keep_values=True)
    for value in [*map(str, range(CANDIDATES))] * 2 + ["often"] * 50:
        repeats.add(value)
    assert repeats.most_common(1) == [("often", 50)]
    assert repeats.repeated == CANDIDATES + 49


def test_any_value_more_frequent_than_the_bound_is_found_whatever_the_order():
    rng = random.Random(0)
    values = [f"rare {index}" for index in range(20_000)] + ["often"] * 40  # 1 in 501 of 20,040
    rng.shuffle(values)
    repeats = DuplicateCounter(keep_values=True)
    for value in values:
        repeats.add(value)
    assert repeats.most_common(3) == [("often", 40)]


def test_bytes_are_counted_without_being_kept():
    repeats = DuplicateCounter()
    for value in (b"a", b"b", b"a", b"\xff"):
        repeats.add(value)
    assert repeats.repeated == 1
    assert repeats.most_common(5) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([7], [7, 7, 7, 7]),
        ([1, 2], [1, 1, 2, 2]),
        ([3, 1, 2], [1, 2, 3, 3]),
        (range(1, 101), [1, 50, 95, 100]),
        ([5] * 98 + [1, 9], [1, 5, 5, 9]),
    ],
)
def test_quantiles_are_numbers_that_occur(numbers, expected):
    assert list(quantiles(Counter(numbers)).values()) == expected


def test_no_numbers_have_no_quantiles():
    assert quantiles(Counter()) == {}
