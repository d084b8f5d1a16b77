import pytest
from wenlan.data.caption_scripts import SCRIPTS, main_script
from wenlan.data.emoji7 import LANGUAGES, training_texts


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("一只黑猫", "Han"),
        ("𠀀𠀁", "Han"),
        ("これは猫です", "Kana"),
        ("ﾊﾝｶｸ", "Kana"),
        ("고양이", "Hangul"),
        ("Ünïcode façade", "Latin"),
        ("ＡＢＣ", "Latin"),
        ("кошка", "other"),
        ("قطة", "other"),
        ("2026 – ♥ 🐱 …", "none"),
        ("", "none"),
        ("iPhone手机", "Latin"),
        ("猫cat", "Latin"),
        ("猫a", "Han"),
    ],
)
def test_main_script_is_that_of_most_letters(text, script):
    assert main_script(text) == script


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_emoji7_are_in_a_script_of_their_language(language):
    texts = training_texts(language)
    fitting = sum(main_script(text) in SCRIPTS[language] | {"none"} for text in texts)
    assert fitting / len(texts) > 0.97
