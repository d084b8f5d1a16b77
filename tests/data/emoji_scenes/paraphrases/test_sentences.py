import re
import string

import pytest
from wenlan.data import CLASS_NAMES, LANGUAGES, generate_scenes
from wenlan.data.emoji_scenes.captions import CAPTION_KINDS, GRAMMARS
from wenlan.data.emoji_scenes.paraphrases.sentences import NUMBER, load_sentences
from wenlan.data.emoji_scenes.questions import QUESTION_LANGUAGES, TEMPLATES

SENTENCES = load_sentences()


def places(text):
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def skeleton(text):
    """The words around the places, without marks and capitals."""
    return tuple(re.findall(r"\w+", re.sub(r"\{\w+\}", " ", text).lower()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_ten_different_captions_a_language_and_none_is_a_template(language):
    captions = [text for texts in SENTENCES[language].captions.values() for text in texts]
    grammar = GRAMMARS[language]
    templates = {skeleton(getattr(grammar, kind)) for kind in CAPTION_KINDS}
    assert len({skeleton(text) for text in captions} - templates) == len(captions) == 10


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_say_what_the_template_of_their_kind_says(language):
    assert tuple(SENTENCES[language].captions) == CAPTION_KINDS
    for kind, texts in SENTENCES[language].captions.items():
        wanted = places(getattr(GRAMMARS[language], kind))
        assert [places(text) for text in texts] == [wanted] * len(texts)


@pytest.mark.parametrize("language", ["de", "fr", "cs", "ko"])
def test_words_of_the_templates_are_avoided_where_spaces_part_them(language):
    grammar = GRAMMARS[language]
    theirs = {word for kind in CAPTION_KINDS for word in skeleton(getattr(grammar, kind)) if len(word) > 3}
    ours = {word for texts in SENTENCES[language].captions.values() for text in texts for word in skeleton(text)}
    assert len(theirs & ours) <= 2, theirs & ours  # left and right have no other words


@pytest.mark.parametrize("language", QUESTION_LANGUAGES)
def test_each_question_has_two_paraphrases_with_its_places(language):
    questions, templates = SENTENCES[language].questions, TEMPLATES[language]
    assert questions.keys() == templates.keys()
    for key, template in templates.items():
        asked = {"x"} if {"x", "a"} & places(template) else set()
        asked |= {"y"} & places(template)
        for text in questions[key]:
            assert {"x" if place in ("one", "many") else place for place in places(text)} == asked, text
        assert len({skeleton(text) for text in questions[key]} - {skeleton(template)}) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_nouns_tell_the_classes_apart(language):
    nouns = SENTENCES[language].nouns
    assert len({noun.one for noun in nouns}) == len({noun.many for noun in nouns}) == len(CLASS_NAMES[language])
    for number, noun in enumerate(nouns):
        others = CLASS_NAMES[language][:number] + CLASS_NAMES[language][number + 1 :]
        assert noun.one.replace(NUMBER, "").strip() not in others
        assert noun.name not in others


@pytest.mark.parametrize("language", LANGUAGES)
def test_most_nouns_are_not_the_names_of_the_templates(language):
    names, nouns = CLASS_NAMES[language], SENTENCES[language].nouns
    other = [name.lower() not in noun.one.lower() for name, noun in zip(names, nouns, strict=True)]
    assert sum(other) >= 85


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_stand_where_there_are_several(language):
    words = SENTENCES[language]
    assert len(words.numbers) == 4
    for noun in words.nouns:
        assert noun.many.count(NUMBER) == 1
        phrases = [noun.phrase(count, words.numbers) for count in (1, 2, 3, 4)]
        assert len(set(phrases)) == 4
        assert not any(NUMBER in phrase for phrase in phrases)


def test_nouns_of_questions_have_no_article_and_no_counter():
    assert [SENTENCES["en"].nouns[CLASS_NAMES["en"].index("airplane")].name] == ["jet"]
    scissors = SENTENCES["en"].nouns[CLASS_NAMES["en"].index("scissors")]
    assert (scissors.name, scissors.plural) == ("pair of shears", "pairs of shears")
    assert SENTENCES["ja"].nouns[CLASS_NAMES["en"].index("house")].name == "住宅"


def test_scenes_have_no_more_equal_things_than_there_are_numbers():
    for scene in generate_scenes("test", 60):
        ids = [one["category_id"] for one in scene["objects"]]
        assert max(map(ids.count, ids)) <= 4
