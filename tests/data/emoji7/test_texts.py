import random
from collections import Counter

import pytest
from wenlan.data import LANGUAGES, load_emoji7
from wenlan.data.emoji7.dataset import read_concepts
from wenlan.data.emoji7.texts import ConceptTexts


@pytest.fixture(scope="module")
def rows():
    columns = ["concept_id", *(f"{kind}_{language}" for kind in ("name", "keywords") for language in LANGUAGES)]
    return load_emoji7()["train"].select_columns(columns).select(range(0, 1200, 50))


@pytest.fixture(scope="module")
def fixed():
    return ConceptTexts(LANGUAGES, number=7, fixed=3)


def parts_of(concept, language):
    return {concept[f"name_{language}"], *concept[f"keywords_{language}"]}


def test_each_text_is_of_another_language_while_there_are_some(rows):
    draw = ConceptTexts(("zh", "en", "de"), number=3)
    for row in rows:
        texts = {one.text for one in draw(row, random.Random(0))}
        found = {language for language in ("zh", "en", "de") for text in texts if row[f"name_{language}"] in text}
        assert len(texts) == 3
        assert len(found) <= 3
    assert len(ConceptTexts(("zh",), number=4)(rows[0], random.Random(0))) == 4


def test_languages_are_drawn_evenly(rows):
    draw, row = ConceptTexts(("zh", "ko"), number=1), rows[0]
    korean = parts_of(row, "ko")
    drawn = [draw(row, random.Random(seed))[0].text for seed in range(200)]
    assert 70 < sum(any(part in text for part in korean) for text in drawn) < 130


def test_text_is_true_of_all_concepts_that_have_its_parts():
    draw, concepts = ConceptTexts(("zh",), fixed=3), read_concepts("zh")
    with_animal = sorted(number for number, concept in concepts.items() if "动物" in parts_of(concept, "zh"))
    assert len(with_animal) > 30
    assert draw._text(["动物"], "zh").group_ids == with_animal
    both = [number for number in with_animal if "猫" in parts_of(concepts[number], "zh")]
    assert 0 < len(both) < len(with_animal)
    assert draw._text(["动物", "猫"], "zh").group_ids == both


def test_every_text_is_true_of_its_own_concept_and_of_no_held_one(fixed, rows):
    seen = set(read_concepts("zh"))
    for row in rows:
        for text, groups in fixed(row, random.Random(1)):
            assert row["concept_id"] in groups, text
            assert groups == sorted(set(groups))
            assert seen.issuperset(groups)


def test_fixed_texts_are_the_name_and_others_drawn_once(fixed, rows):
    known = set(fixed.texts)
    names = {row[f"name_{language}"] for row in rows for language in LANGUAGES}
    assert names <= known
    assert len(known) < 3 * 7 * 1215
    for seed in range(3):
        assert known.issuperset(text for row in rows for text, _ in fixed(row, random.Random(seed)))
    again = ConceptTexts(LANGUAGES, number=7, fixed=3)
    assert again.texts == fixed.texts
    assert ConceptTexts(LANGUAGES, fixed=3, seed=1).texts != fixed.texts
    assert len(ConceptTexts(LANGUAGES, fixed=1).texts) == len({*ConceptTexts(LANGUAGES, fixed=1).texts})


def test_second_fixed_text_is_the_keyword_that_most_concepts_share():
    draw, concepts = ConceptTexts(("en",), fixed=2), read_concepts("en")
    counts = Counter(part for concept in concepts.values() for part in parts_of(concept, "en"))
    for number, concept in concepts.items():
        name, shared = draw.texts_of[number, "en"]
        assert name.text == concept["name_en"]
        keywords = concept["keywords_en"] or [concept["name_en"]]
        assert shared.text in keywords
        assert counts[shared.text] == max(counts[keyword] for keyword in keywords) == len(shared.group_ids)


def test_without_a_number_of_fixed_texts_they_go_on(rows):
    draw = ConceptTexts(("cs",))
    drawn = {draw(rows[0], random.Random(seed))[0].text for seed in range(200)}
    assert len(drawn) > 20
    assert draw.texts == []


def test_unknown_language_is_refused():
    with pytest.raises(ValueError, match=r"'xx'.*zh, en"):
        ConceptTexts(("zh", "xx"))
