import itertools

import pytest
from wenlan.data import LANGUAGES, load_emoji7
from wenlan.data.emoji_scenes.dataset import generate_scenes
from wenlan.data.rows.scripts import SCRIPTS, is_in_wrong_script
from wenlan.data.translation.filters import FILTERS, SWITCHES, TranslationFilter

OTHERS = [language for language in LANGUAGES if language != "en"]
SENTENCE = "A small brown dog runs over the wet grass"
# filter -> language, caption, translation that it leaves out, translation that it lets pass
CASES = {
    "empty": ("de", "a dog", "  ", "ein Hund"),
    "special token": ("de", "a dog", "__de__ ein Hund", "ein Hund"),
    "wrong script": ("zh", "a dog", "собака", "一只狗"),
    "copied": ("de", "a red house", "A red house.", "ein rotes Haus"),
    "length ratio": ("de", SENTENCE, "ja", "Ein kleiner brauner Hund läuft über das nasse Gras"),
    "repetition": ("de", SENTENCE, "der Hund " * 8, "der Hund, der Hund, der Hund läuft"),
    "number lost": ("de", "12 dogs in 1984", "12 Hunde im Jahr 1948", "12 Hunde im Jahr 1984"),
}


def name_of(fault):
    return fault and fault[0]


@pytest.mark.parametrize("name", CASES)
def test_each_filter_leaves_out_its_planted_case_and_lets_the_good_one_pass(name):
    language, source, bad, good = CASES[name]
    assert name_of(TranslationFilter("en", language).fault(source, bad)) == name
    assert TranslationFilter("en", language).fault(source, good) is None


@pytest.mark.parametrize("name", sorted(CASES.keys() & set(SWITCHES)))
def test_filter_that_is_skipped_is_not_asked(name):
    language, source, bad, _ = CASES[name]
    assert TranslationFilter("en", language, {name}).fault(source, bad) is None


@pytest.mark.parametrize(("name", "text"), [("cut off", "ein Hund"), ("unknown token", "ein Hund")])
def test_what_the_model_says_is_heard_unless_it_is_skipped(name, text):
    assert TranslationFilter("en", "de").fault("a dog", text, name) == (name, "'a dog' -> 'ein Hund'")
    assert TranslationFilter("en", "de", [name]).fault("a dog", text, name) is None


@pytest.mark.parametrize("reason", ["source too long: 300 tokens, at most 128", "model failed: ValueError: no"])
def test_caption_without_a_translation_is_counted_by_its_reason(reason):
    name, _, found = reason.partition(": ")
    assert TranslationFilter("en", "de", SWITCHES).fault("a dog", None, reason) == (name, f"'a dog': {found}")


@pytest.mark.parametrize("language", OTHERS)
def test_true_translations_of_names_and_scenes_pass(language):
    names = {(row["name_en"], row[f"name_{language}"]) for row in load_emoji7()["train"].remove_columns("image")}
    scenes = [scene["captions"] for scene in itertools.islice(generate_scenes("validation", 20), 20)]
    captions = [pair for scene in scenes for pair in zip(scene["en"], scene[language], strict=True)]
    for pairs in (names, captions):
        good = [TranslationFilter("en", language).fault(*pair) is None for pair in pairs]
        assert len(good) > 40
        assert sum(good) / len(good) >= 0.98


@pytest.mark.parametrize("language", OTHERS)
def test_captions_of_another_language_are_mostly_found_by_their_script(language):
    other = "ja" if language == "zh" else "zh" if SCRIPTS[language] != {"Latin"} else "ko"
    scenes = itertools.islice(generate_scenes("validation", 10), 10)
    pairs = [(a, b) for scene in scenes for a, b in zip(scene["captions"]["en"], scene["captions"][other], strict=True)]
    found = [name_of(TranslationFilter("en", language).fault(*pair)) for pair in pairs]
    assert found.count("wrong script") / len(found) > 0.9


@pytest.mark.parametrize(
    ("text", "language", "is_wrong"),
    [
        ("iPhone手机", "zh", False),
        ("这是iPhone手机的照片", "zh", False),
        ("これは犬です", "zh", True),
        ("강아지", "zh", True),
        ("子犬", "ja", False),
        ("一只棕色的狗在草地上", "ja", True),
        ("Tシャツ", "ja", False),
        ("一只狗", "ko", True),
        ("T셔츠", "ko", False),
        ("Hund", "de", False),
        ("собака", "cs", True),
        ("狗", "fr", True),
        ("2026", "zh", False),
    ],
)
def test_scripts_of_a_language(text, language, is_wrong):
    assert is_in_wrong_script(text, language) is is_wrong


@pytest.mark.parametrize(
    ("text", "language"), [("左：牝牛。右：牝牛。背景：黄色。", "ja"), ("開の一字", "zh"), ("高麗靑磁", "ko")]
)
def test_scripts_that_only_a_translation_should_not_have_are_allowed_elsewhere(text, language):
    assert is_in_wrong_script(text, language)
    assert not is_in_wrong_script(text, language, strict=False)


def test_translation_without_letters_is_in_the_wrong_script_unless_the_caption_has_none():
    good = TranslationFilter("en", "zh")
    assert name_of(good.fault("a dog", "!!!")) == "wrong script"
    assert good.fault("2026!", "2026!") is None


@pytest.mark.parametrize(
    ("source", "text", "name"),
    [
        ("taxi", "Taxi", None),
        ("a small dog runs over the grass", "a small dog läuft over the grass", "copied"),
        ("Barack Obama in Paris in 2012", "Barack Obama à Paris en 2012", None),
    ],
)
def test_copies_of_single_words_and_of_names_pass_but_not_those_of_sentences(source, text, name):
    assert name_of(TranslationFilter("en", "fr").fault(source, text)) == name


def test_repetition_that_the_caption_has_too_is_no_fault():
    source, text = "ha ha ha ha ha ha ha ha", "ah ah ah ah ah ah ah ah"
    assert TranslationFilter("en", "fr").fault(source, text) is None
    assert name_of(TranslationFilter("en", "fr").fault("a man who laughs and laughs", text)) == "repetition"


def test_loops_without_spaces_are_found_in_chinese():
    assert (
        name_of(TranslationFilter("en", "zh").fault("a dog and a cat on the red sofa", "红色的狗" * 5)) == "repetition"
    )


def test_special_token_of_the_caption_may_stay():
    good = TranslationFilter("en", "de")
    assert good.fault("the tag <mask> on a page", "das Zeichen <mask> auf einer Seite") is None


@pytest.mark.parametrize(
    ("source", "text", "name"),
    [
        ("1,000 people", "1.000 Menschen", None),
        ("3 dogs", "drei Hunde", None),
        ("25 dogs", "25 Hunde", None),
        ("25 dogs", "viele Hunde", "number lost"),
    ],
)
def test_numbers_are_compared_by_their_digits(source, text, name):
    assert name_of(TranslationFilter("en", "de").fault(source, text)) == name


def test_full_width_digits_are_digits():
    assert TranslationFilter("en", "ja").fault("25 dogs", "犬が２５匹") is None


def test_unknown_languages_and_filters_are_named():
    with pytest.raises(ValueError, match="'xx' is none of the languages zh, ja"):
        TranslationFilter("en", "xx")
    with pytest.raises(ValueError, match="'xx' is none of the languages"):
        TranslationFilter("xx", "de")
    with pytest.raises(ValueError, match=r"'copies' is no filter.* did you mean 'copied'"):
        TranslationFilter("en", "de", ["copies"])
    with pytest.raises(ValueError, match=r"'empty' is no filter that can be skipped"):
        TranslationFilter("en", "de", ["empty"])


def test_every_filter_is_described():
    assert set(CASES) | {"cut off", "unknown token", "source too long", "model failed"} < set(FILTERS)
