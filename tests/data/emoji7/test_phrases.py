"""The committed phrases, and the errors of a file of phrases that is broken."""

import json
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest
from wenlan.data import LANGUAGES, load_emoji7, load_phrases
from wenlan.data.emoji7.dataset import FOLDER
from wenlan.data.emoji7.phrases import FILE
from wenlan.data.rows.languages import SPACELESS

TEXTS = dict.fromkeys(LANGUAGES, "words")
GOOD = {"texts": TEXTS, "right": [{"any": ["cat"]}]}
SCRIPTS = {
    "zh": r"[\u4e00-\u9fff，、]+",
    "ja": r"[\u4e00-\u9fff\u3040-\u30ff、]+",
    "ko": r"[\uac00-\ud7a3 ,]+",
    "en": r"[A-Za-z ,']+",
    "de": r"[A-Za-zäöüß ,]+",
    "fr": r"[A-Za-zàâçéèêëîôûùœ ,'-]+",
    "cs": r"[A-Za-záčďéěíňóřšťúůýž ,]+",
}


@pytest.fixture(scope="module")
def concepts():
    return pq.read_table(FOLDER / "concepts.parquet").to_pylist()


@pytest.fixture(scope="module")
def phrases():
    return load_phrases()


@pytest.fixture(scope="module")
def sizes(phrases):
    test = set(load_emoji7()["test"]["concept_id"])
    return [len(phrase.right & test) for phrase in phrases]


def plain(text):
    return " ".join(text.casefold().replace("’", "'").split())


def test_there_are_at_least_64_different_phrases_in_each_language(phrases):
    for language in LANGUAGES:
        assert len({plain(phrase.texts[language]) for phrase in phrases}) == len(phrases) >= 64


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_phrase_is_a_name_or_keyword_of_a_seen_or_held_concept(phrases, concepts, language):
    words = {plain(w) for row in concepts for w in [row[f"name_{language}"], *row[f"keywords_{language}"]]}
    assert not words & {plain(phrase.texts[language]) for phrase in phrases}


@pytest.mark.parametrize("language", LANGUAGES)
def test_phrases_are_short_and_in_the_letters_of_their_language(phrases, language):
    for phrase in phrases:
        text = phrase.texts[language]
        words = len(text) / 2 if language in SPACELESS else len(text.split())
        assert 1.5 <= words <= 8, text
        assert re.fullmatch(SCRIPTS[language], text), text


def test_each_phrase_has_as_many_right_test_images_as_the_card_says(sizes):
    assert (min(sizes), max(sizes), round(sum(sizes) / len(sizes))) == (5, 58, 13)
    card = (FOLDER / "README.md").read_text("utf-8")
    assert "5 to 58 of the test images, 13 on average" in card
    assert f"`phrases.json` holds {len(sizes)} phrases" in card


def test_every_group_has_at_least_8_phrases(phrases, concepts):
    main = [Counter(concepts[c]["group"] for c in phrase.right).most_common(1)[0][0] for phrase in phrases]
    counts = Counter(main)
    assert set(counts) == {row["group"] for row in concepts}
    assert min(counts.values()) >= 8


def test_what_a_rule_takes_in_and_leaves_out(phrases, concepts):
    right = {p.texts["en"]: {concepts[c]["name_en"] for c in p.right} for p in phrases}
    assert {"whale", "octopus", "crab", "shark"} <= right["an animal that lives in the sea"]
    assert not {"dog", "water wave", "ship"} & right["an animal that lives in the sea"]
    assert "sunset" not in right["hot and sunny weather"]
    assert right["what is my star sign"] == {row["name_en"] for row in concepts if row["subgroup"] == "zodiac"}


def test_every_exclusion_is_needed(concepts, tmp_path):
    content = json.loads(FILE.read_text("utf-8"))
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps([{**fields, "except": []} for fields in content]), "utf-8")
    for fields, phrase in zip(content, load_phrases(bare), strict=True):
        assert set(fields.get("except", [])) <= {concepts[c]["name_en"] for c in phrase.right}, fields["texts"]["en"]


def test_clauses_join_their_conditions_and_widen_each_other(concepts, tmp_path):
    file = tmp_path / "own.json"
    clauses = [{"all": ["cat", "face"], "within": ["animal-mammal"]}, {"any": ["mango", "pear"]}]
    file.write_text(json.dumps([{"texts": TEXTS, "right": clauses, "except": ["pear"]}]), "utf-8")
    [phrase] = load_phrases(file)
    expected = {"mango"} | {
        row["name_en"]
        for row in concepts
        if row["subgroup"] == "animal-mammal" and {"cat", "face"} <= {row["name_en"], *row["keywords_en"]}
    }
    assert {concepts[c]["name_en"] for c in phrase.right} == expected != {"mango"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no list of phrases"),
        ([], "no list of phrases"),
        ([GOOD, "cat"], "phrase 1: an object"),
        ([{**GOOD, "excep": ["cat"]}], 'phrase 0: an object with "texts"'),
        ([{**GOOD, "texts": {"en": "a cat"}}], "one text for each of zh, en, de, fr, cs, ja, ko"),
        ([{**GOOD, "texts": {**TEXTS, "ko": " "}}], "one text for each"),
        ([{**GOOD, "right": []}], '"right" must be a list'),
        ([{**GOOD, "right": [{}]}], '"right" must be a list'),
        ([{**GOOD, "right": [{"anny": ["cat"]}]}], "all, any, within"),
        ([{**GOOD, "right": [{"any": "cat"}]}], '"right" must be a list'),
        ([{**GOOD, "right": [{"any": ["cat", "kat"]}]}], "'kat' in \"any\" is no English name or keyword"),
        ([{**GOOD, "right": [{"all": ["猫"]}]}], "'猫' in \"all\" is no English name or keyword"),
        ([{**GOOD, "right": [{"within": ["Cats"]}]}], "'Cats' in \"within\" is no group or subgroup"),
        ([{**GOOD, "except": ["kitten"]}], "'kitten' in \"except\" is no English name"),
        ([{**GOOD, "right": [{"any": ["cat"], "within": ["food-fruit"]}]}], "no concept is right"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(content, message, tmp_path):
    file = tmp_path / "phrases.json"
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_phrases(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) - len(str(file)) < 300


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        load_phrases(tmp_path / "absent.json")
