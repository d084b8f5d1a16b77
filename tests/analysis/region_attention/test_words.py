"""Words in texts."""

import pytest
from wenlan.analysis.region_attention.words import find_names, find_word, read_marks


def test_word_is_found_as_a_word_before_it_is_found_as_a_part():
    assert find_word("monkey, key, keys", "key") == [(8, 11)]
    assert find_word("monkeys", "key") == [(3, 6)]
    assert find_word("左边：钥匙；右边：钥匙×2。", "钥匙") == [(3, 5), (9, 11)]
    assert find_word("a.b", ".") == [(1, 2)]
    assert find_word("a b", " ") == []


def test_name_inside_a_longer_name_is_found_where_it_stands_alone():
    assert find_names("图中有闹钟和钟。", ["钟", "闹钟"]) == {"闹钟": (3, 5), "钟": (6, 7)}
    with pytest.raises(ValueError, match="'钟' is not in the text '图中有闹钟。'"):
        find_names("图中有闹钟。", ["钟", "闹钟"])


def test_marks_are_taken_away_and_their_places_told():
    text, spans = read_marks("A [red] key and a [cat].")
    assert text == "A red key and a cat."
    assert [text[first:last] for first, last in spans] == ["red", "cat"]
    assert read_marks("a cat") == ("a cat", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [("a [ ] cat", "no word between the marks"), ("a [cat", "has no partner"), ("a [[cat]]", "has no partner")],
)
def test_wrong_mark_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_marks(text)
