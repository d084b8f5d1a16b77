"""Letters of the seven languages."""

import pytest
from wenlan.analysis.language_letters import check_letters, load_language_letters
from wenlan.data import CLASS_NAMES, COLOUR_NAMES


@pytest.mark.parametrize("language", CLASS_NAMES)
def test_letters_of_all_names_are_there(language):
    check_letters("".join([*CLASS_NAMES[language], *COLOUR_NAMES[language]]), load_language_letters(language, 15))


def test_chinese_and_japanese_have_their_own_forms_of_a_character():
    zh, ja = (load_language_letters(language, 40) for language in ("zh", "ja"))
    assert bytes(zh.getmask("直")) != bytes(ja.getmask("直"))


def test_letters_that_a_font_would_take_to_pieces_are_missing():
    with pytest.raises(ValueError, match="lacks č ů"):
        check_letters("ačů", load_language_letters("zh", 15))


def test_font_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no font file"):
        load_language_letters("en", 15, tmp_path / "no.ttf")
