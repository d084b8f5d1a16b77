import sys

import pytest
from helpers.few_shot import tokenizer_for
from wenlan.analysis.word_neighbors import vocabulary
from wenlan.analysis.word_neighbors.vocabulary import Vocabulary, build_vocabulary, check_size, read_vocabulary


def test_vocabulary_is_that_of_the_rule():
    found = build_vocabulary(170_000)
    assert found.counts == {
        "jieba": 349_046,
        "Han, 2-5 characters": 333_912,
        "wordfreq": 334_609,
        "in both": 201_709,
        "most frequent": 170_000,
        "added": 1,
    }
    assert found.words[:3] == ["一个", "我们", "中国"]
    assert found.words[-1] == "英俊小生"  # too rare for the cut
    assert {"王子", "帅哥"} <= set(found.words)  # which jieba takes for names of persons
    assert len(set(found.words)) == len(found.words) == 170_001


def test_dictionary_is_not_loaded_as_a_package():
    """jieba prints and warns when it is imported."""
    build_vocabulary(10)
    assert "jieba" not in sys.modules


@pytest.mark.parametrize("name", ["jieba", "wordfreq"])
def test_missing_package_is_told_with_its_remedy(monkeypatch, name):
    real = vocabulary.find_spec
    monkeypatch.setattr(vocabulary, "find_spec", lambda one: None if one == name else real(one))
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[words\]', or give a list"):
        build_vocabulary(10)


def test_own_list_is_read_without_blanks_and_repeats(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeff苹果\r\n 梨 \n\n苹果\n桃\n梨", "utf-8")
    found = read_vocabulary(path)
    assert found.words == ["苹果", "梨", "桃"]
    assert found.counts == {"listed": 5, "duplicates": 2}


@pytest.mark.parametrize(("content", "message"), [(b"\n \n", "holds no word"), ("苹果".encode("gb18030"), "not UTF-8")])
def test_list_that_is_none_is_told(tmp_path, content, message):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_vocabulary(path)
    with pytest.raises(FileNotFoundError, match="give a vocabulary with one word a line"):
        read_vocabulary(tmp_path / "none.txt")


def test_words_that_a_tokenizer_cannot_tell_apart_are_left_out_and_counted():
    tokenizer = tokenizer_for(16)
    words = Vocabulary(["水稻", "嗨", "星系", "水 稻", "品种"], {"listed": 5}).keep_readable([tokenizer, tokenizer])
    assert words.words == ["水稻", "星系", "品种"]
    assert words.counts == {"listed": 5, "unknown tokens": 1, "tokens of another word": 1}


def test_asked_words_are_added_once_and_must_be_readable():
    words = Vocabulary(["水稻", "星系"], {}).add(["星系", "嗨", "嗨"])
    assert words.words == ["水稻", "星系", "嗨"]
    assert words.counts == {"added": 1}
    assert words.indices(["嗨", "水稻"]) == [2, 0]
    with pytest.raises(ValueError, match="嗨: not in the vocabulary, or left out"):
        words.keep_readable([tokenizer_for(16)]).indices(["嗨"])


def test_few_words_are_refused():
    check_size(range(110), 10)
    with pytest.raises(ValueError, match="109 words are too few for 10 neighbours: give at least 110"):
        check_size(range(109), 10)
