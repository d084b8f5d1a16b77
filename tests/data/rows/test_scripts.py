import pytest
from wenlan.data import LANGUAGES, training_texts
from wenlan.data.rows.scripts import SCRIPTS, count_scripts, main_script


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


def test_letters_are_counted_by_script():
    found = count_scripts("这是 a T-shirt、シャツ、셔츠, кот 2026")
    assert found == {"Han": 2, "Kana": 3, "Hangul": 2, "Latin": 7, "other": 3}


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_emoji7_are_in_a_script_of_their_language(language):
    texts = training_texts(language)
    fitting = sum(main_script(text) in SCRIPTS[language] | {"none"} for text in texts)
    assert fitting / len(texts) > 0.97
