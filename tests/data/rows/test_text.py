import unicodedata

import pytest
from wenlan.data.rows.report import BadRowError
from wenlan.data.rows.text import MAX_CHARACTERS, clean_caption, is_blank
from wenlan.processing.text_inputs import is_blank as is_blank_for_processors
from wenlan.processing.text_inputs import read_texts

BLANK = {
    "zero width space": "\u200b",
    "soft hyphen": "\u00ad",
    "right-to-left mark": "\u200f",
    "NUL": "\x00",
    "byte order mark": "\ufeff",
    "private use": "\ue000\U000f0000",
    "combining marks": "\u0301\u0308\u20dd",
    "variation selectors": "\ufe0f\U000e0100",
    "unassigned": "\u0378\U000e0fff",
    "non-characters": "\ufffe\uffff",
    "blank of Braille": "\u2800\u2800",
    "fillers of Hangul": "\u3164\u115f\u1160\uffa0",
    "control characters": "\x07\x1a\x1b\x7f\x85",
    "tags": "\U000e0001\U000e0041",
    "line separators": "\u2028\u2029\u3000\u00a0",
    "Mongolian vowel separator": "\u180e",
    "invisible operators": "\u2061\u2063\u2064",
    "joiners": "\u200d\u200c\u2060",
    "bidi isolates": "\u2066\u2069",
    "lost characters": "\ufffd\ufffc",
    "nothing": "",
    "all of them": " \u200b\u0301\u2800\t\ue000 ",
}
GOOD = {
    "emoji": "🦊",
    "family joined by ZWJ": "👨\u200d👩\u200d👧",
    "emoji with selector": "❤\ufe0f",
    "flag": "🇨🇳",
    "keycap": "1\ufe0f\u20e3",
    "marks within right-to-left text": "\u200fשלום\u200e abc",
    "half-width katakana": "ｶﾞｰﾙ",
    "decomposed accents": unicodedata.normalize("NFD", "Ünïcödé"),
    "Hangul jamo": "\u1112\u1161\u11ab",
    "Thai with marks": "น้ำ",
    "Devanagari with joiner": "क्\u200dष",
    "Braille": "⠓⠊",
    "rare Han": "𠮷野家",
    "digits": "2",
    "question mark": "？",
}


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
def test_what_cannot_be_read_is_blank_at_every_entrance(text):
    assert is_blank(text)
    assert is_blank_for_processors(text)
    with pytest.raises(BadRowError, match="empty text") as caught:
        clean_caption(text)
    assert str(caught.value).isascii()
    with pytest.raises(ValueError, match="Text 1 is blank"):
        read_texts(["a", text])


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_can_be_read_stays_as_it_is(text):
    assert clean_caption(text) == text
    assert read_texts(text) == text


def test_blank_of_all_characters_is_the_same_for_captions_and_processors():
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    assert [is_blank(one) for one in characters] == [is_blank_for_processors(one) for one in characters]


def test_document_is_no_caption_and_is_cut_before_it_is_tokenized():
    assert clean_caption("a" * MAX_CHARACTERS)
    with pytest.raises(BadRowError, match=r"text too long: 50,000,000 characters"):
        clean_caption("a" * 50_000_000)
    assert read_texts(["猫 " * 10**6, "狗"]) == ["猫 " * (MAX_CHARACTERS // 2), "狗"]


@pytest.mark.parametrize("text", ["\ud83d", "猫\udcff", "a\udfff"])
def test_half_of_a_character_is_refused(text):
    with pytest.raises(BadRowError, match="invalid UTF-8"):
        clean_caption(text)
    with pytest.raises(ValueError, match="not valid Unicode"):
        read_texts(text)
