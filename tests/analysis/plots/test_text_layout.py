"""Lines of text that fit a width."""

import pytest
from wenlan.analysis.plots.fonts import load_font
from wenlan.analysis.plots.text_layout import break_lines, shorten

TEXTS = {"zh": "图中有一把红色的钥匙", "cs": "příliš žluťoučký kůň úpěl ďábelské ódy", "ko": "탁자 위의 빨간 열쇠"}


@pytest.mark.parametrize("language", TEXTS)
def test_broken_lines_fit_and_hold_the_whole_text(language):
    text = TEXTS[language]
    font = load_font(15, language, text=text)
    lines = break_lines(text, font, 90)
    assert len(lines) > 1
    assert all(font.getlength(line) <= 90 and text[start:].startswith(line) for start, line in lines)
    assert "".join(line for _, line in lines).replace(" ", "") == text.replace(" ", "")


def test_line_is_broken_at_a_space_where_there_is_one():
    font = load_font(15, "en", text="a red key")
    assert [line for _, line in break_lines("a red key", font, font.getlength("a red ke"))] == ["a red", "key"]


def test_letter_wider_than_the_line_has_a_line_of_its_own():
    assert break_lines("猫狗", load_font(15, text="猫狗"), 1) == [(0, "猫"), (1, "狗")]


def test_shortened_text_ends_in_an_ellipsis_and_fits():
    font = load_font(15, text="图中有钥匙…")
    short = shorten("图中有钥匙", font, 50)
    assert short.endswith("…")
    assert font.getlength(short) <= 50
    assert shorten("图", font, 50) == "图"
    assert shorten("图中有钥匙", font, 1) == ""
