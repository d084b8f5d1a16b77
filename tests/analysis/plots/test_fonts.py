"""Fonts for the seven languages."""

from types import SimpleNamespace

import pytest
from fontTools.ttLib import TTFont
from wenlan.analysis.plots.fonts import load_font, readable
from wenlan.data import CLASS_NAMES, COLOUR_NAMES, training_texts

PANGRAM = "Příliš žluťoučký kůň úpěl ďábelské ódy"


@pytest.mark.parametrize("language", CLASS_NAMES)
def test_letters_of_a_language_are_in_its_font(language):
    text = "".join([*training_texts(language), *CLASS_NAMES[language], *COLOUR_NAMES[language], "…"])
    font = load_font(15, language, text=text)
    has = TTFont(font.path, fontNumber=font.index, lazy=True).getBestCmap()
    assert {letter for letter in text if not letter.isspace() and ord(letter) not in has} == set()


@pytest.mark.parametrize("language", ["cs", "zh"])
@pytest.mark.parametrize("text", [PANGRAM, PANGRAM.upper()])
def test_letters_of_czech_are_drawn_whatever_the_language(language, text):
    font = load_font(15, language, text=text)
    has = TTFont(font.path).getBestCmap()
    assert {letter for letter in text if not letter.isspace() and ord(letter) not in has} == set()
    assert bytes(font.getmask("\U0010fffe")) not in {bytes(font.getmask(letter)) for letter in text}


def test_language_without_a_letter_gets_the_other_font():
    assert load_font(15, "zh").getname() == load_font(15, "cs", text="猫").getname()
    assert load_font(15, "cs").getname() == load_font(15, "zh", text="kůň").getname()
    assert load_font(15, "cs").getname() != load_font(15, "zh").getname()


def test_chinese_and_japanese_have_their_own_forms_of_a_character():
    zh, ja = (load_font(40, language) for language in ("zh", "ja"))
    assert bytes(zh.getmask("直")) != bytes(ja.getmask("直"))


def test_letters_that_a_font_would_compose_are_missing():
    with pytest.raises(ValueError, match="lacks č ů:"):
        load_font(text="ačů", path=load_font(15, "zh").path)


def test_line_whose_letters_are_in_no_one_font_is_refused():
    with pytest.raises(ValueError, match=r"lacks ů.*wenlan\[demo\]"):
        load_font(text="猫 kůň")


def test_font_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no font file .*no\.ttf"):
        load_font(path=tmp_path / "no.ttf")


def test_latin_letters_are_there_without_any_package(only_pillow):
    assert load_font(15, "en", text="red car 87%…").getname() == load_font(15, "zh").getname() == ("Aileron", "Regular")
    with pytest.raises(ValueError, match=r"lacks 猫.*wenlan\[demo\]"):
        load_font(text="猫")


def test_package_without_its_fonts_is_passed_over(only_pillow, monkeypatch, tmp_path):
    stripped = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("wenlan.analysis.plots.fonts.find_spec", lambda name: stripped)
    assert load_font(15, "en", text="cat").getname() == ("Aileron", "Regular")


def test_text_without_a_font_is_replaced_with_a_warning(only_pillow, caplog):
    assert readable("cat", "03") == "cat"
    assert caplog.text == ""
    assert readable("猫", "03") == "03"
    assert "'03' stands for '猫' in the image" in caplog.text
