import random
import re
from collections import Counter, defaultdict

import pytest
from wenlan.data import CLASS_NAMES, COLOUR_NAMES, answer_vocabulary, ask_questions, generate_scenes, text_seed
from wenlan.data.emoji_scenes.questions import QUESTION_KINDS, SceneQuestion
from wenlan.data.emoji_scenes.vocabulary import SCENE_CLASSES


@pytest.fixture(scope="module")
def asked():
    return [
        (scene, question)
        for index, scene in enumerate(generate_scenes("finetune", 400))
        for question in ask_questions(scene, random.Random(text_seed("finetune", index)))
    ]


def centres(scene, name, language):
    return [
        ((one["bbox"][0] + one["bbox"][2]) / 2, (one["bbox"][1] + one["bbox"][3]) / 2)
        for one in scene["objects"]
        if CLASS_NAMES[language][one["category_id"]] == name
    ]


def names(scene, size=None):
    return [CLASS_NAMES["en"][one["category_id"]] for one in scene["objects"] if size in (None, one["size"])]


def only(values):
    (value,) = set(values)
    return value


def answer_from_english(question, scene):
    """The answer that the words of the question have in the objects of the scene, by the longest way."""
    if question == "What color is the background?":
        return scene["background"]
    if question == "How many things are in the picture?":
        return str(len(scene["objects"]))
    if match := re.fullmatch(r"Is there an? (.+) in the picture\?", question):
        return "yes" if match[1] in names(scene) else "no"
    if match := re.fullmatch(r"How many pictures of an? (.+) are there\?", question):
        return str(names(scene).count(match[1]))
    if match := re.fullmatch(r"Is the (.+) big or small\?", question):
        return only(size for size in ("big", "small") if match[1] in names(scene, size))
    if match := re.fullmatch(r"Which thing is (big|small)\?", question):
        return only(names(scene, match[1]))
    if match := re.fullmatch(r"Is the (.+) to the (left|right) of the (.+)\?", question):
        (one,), (other,) = centres(scene, match[1], "en"), centres(scene, match[3], "en")
        return "yes" if (one[0] < other[0]) == (match[2] == "left") else "no"
    match = re.fullmatch(r"What is (to the left of|to the right of|above|below) the (.+)\?", question)
    ((x, y),) = centres(scene, match[2], "en")
    there = {
        "to the left of": lambda a, b: a < x,
        "to the right of": lambda a, b: a > x,
        "above": lambda a, b: b < y,
        "below": lambda a, b: b > y,
    }[match[1]]
    return only(name for name in names(scene) for centre in centres(scene, name, "en") if there(*centre))


def test_answers_follow_from_the_words_and_the_objects(asked):
    assert len(asked) > 2200
    for scene, question in asked:
        assert question.answer("en") == answer_from_english(question.text("en"), scene)


def test_japanese_says_the_same(asked):
    to_japanese = dict(zip(answer_vocabulary("en"), answer_vocabulary("ja"), strict=True))
    for _, question in asked:
        assert question.answer("ja") == to_japanese[question.answer("en")]
        mentioned = [CLASS_NAMES["ja"][i] for i in question.category_ids]
        assert all(name in question.text("ja") for name in mentioned)
        assert question.text("ja").endswith("？")


def test_every_kind_is_asked_in_its_known_words(asked):
    english = defaultdict(set)
    japanese = defaultdict(set)
    for _, question in asked:
        text = [question.text("en"), question.text("ja")]
        for language, i in ((language, i) for language in (0, 1) for i in question.category_ids):
            text[language] = text[language].replace(CLASS_NAMES[("en", "ja")[language]][i], "X", 1)
        english[question.kind].add(text[0].replace(" an X", " a X"))
        japanese[question.kind].add(text[1])
    assert english == {
        "exist": {"Is there a X in the picture?"},
        "count": {"How many pictures of a X are there?"},
        "size": {"Is the X big or small?"},
        "relation": {"Is the X to the left of the X?", "Is the X to the right of the X?"},
        "what-rel": {
            "What is to the left of the X?",
            "What is to the right of the X?",
            "What is above the X?",
            "What is below the X?",
        },
        "what-size": {"Which thing is big?", "Which thing is small?"},
        "colour": {"What color is the background?"},
        "count-all": {"How many things are in the picture?"},
    }
    assert japanese["relation"] == {"XはXより左にありますか？", "XはXより右にありますか？"}
    assert japanese["what-rel"] == {f"Xの{side}にあるものは何ですか？" for side in "左右上下"}
    assert set(japanese) == set(QUESTION_KINDS)


def test_about_six_questions_a_scene_one_of_a_kind(asked):
    by_scene = defaultdict(list)
    for scene, question in asked:
        by_scene[scene["image_id"]].append(question.kind)
    assert len(by_scene) == 400
    assert all(len(set(kinds)) == len(kinds) for kinds in by_scene.values())
    assert all({"exist", "count", "colour"} <= set(kinds) for kinds in by_scene.values())
    assert len(asked) / 400 == pytest.approx(6, abs=0.4)
    assert sum(question.kind == "count-all" for _, question in asked) / 400 == pytest.approx(0.4, abs=0.1)


def test_relations_are_asked_only_where_they_are_clear(asked):
    for scene, question in asked:
        if question.kind not in ("relation", "what-rel"):
            continue
        axis = 1 if question.template.endswith(("above", "below")) else 0
        asked_for = [centres(scene, CLASS_NAMES["en"][i], "en") for i in question.category_ids]
        assert [len(found) for found in asked_for] == [1] * len(asked_for)
        everything = [centre for name in names(scene) for centre in centres(scene, name, "en")]
        others = asked_for[1] if question.kind == "relation" else everything
        distances = [abs(other[axis] - asked_for[0][0][axis]) for other in others if other != asked_for[0][0]]
        assert min(distances) > 20


def test_thing_that_is_not_there_is_like_one_that_is(asked):
    absent = [
        (
            SCENE_CLASSES[question.category_ids[0]].group,
            {SCENE_CLASSES[o["category_id"]].group for o in scene["objects"]},
        )
        for scene, question in asked
        if (question.kind, question.answer("en")) in (("exist", "no"), ("count", "0"))
    ]
    assert len(absent) > 150
    assert all(group in groups for group, groups in absent)


def test_answers_without_the_image_are_right_as_often_as_the_card_says(asked):
    """The fraction of the most common answer of each kind, among all questions: 31 % over 2000 scenes."""
    answers = defaultdict(Counter)
    for _, question in asked:
        answers[question.kind][question.answer("en")] += 1
    fraction = {kind: counts.most_common(1)[0][1] / counts.total() for kind, counts in answers.items()}
    for kind, expected in {"exist": 0.52, "size": 0.52, "relation": 0.52, "colour": 0.12, "what-size": 0.03}.items():
        assert fraction[kind] == pytest.approx(expected, abs=0.06)
    assert fraction["count"] == pytest.approx(0.33, abs=0.06)
    assert fraction["count-all"] == pytest.approx(0.31, abs=0.1)
    most_common = sum(counts.most_common(1)[0][1] for counts in answers.values())
    assert most_common / len(asked) == pytest.approx(0.31, abs=0.03)


def test_vocabulary_is_closed_and_parallel(asked):
    for language in ("en", "ja"):
        assert len(set(answer_vocabulary(language))) == len(answer_vocabulary(language)) == 149
    assert {question.answer("en") for _, question in asked} <= set(answer_vocabulary("en"))
    assert answer_vocabulary("ja")[11:21] == COLOUR_NAMES["ja"]
    assert answer_vocabulary("ja")[:4] == ("はい", "いいえ", "大きい", "小さい")


def test_other_languages_are_refused():
    with pytest.raises(ValueError, match="no questions in 'zh', only in en and ja"):
        answer_vocabulary("zh")


def test_article_fits_the_sound():
    def text(name):
        return SceneQuestion("exist", (CLASS_NAMES["en"].index(name),), 0).text("en")

    assert text("umbrella") == "Is there an umbrella in the picture?"
    assert text("unicorn") == "Is there a unicorn in the picture?"
    assert text("octopus") == "Is there an octopus in the picture?"
    assert text("hedgehog") == "Is there a hedgehog in the picture?"


def test_few_classes_are_enough_to_ask_for_an_absent_one():
    asked = [
        question
        for index, scene in enumerate(generate_scenes("finetune", 200, num_classes=6))
        for question in ask_questions(scene, random.Random(index), num_classes=6)
    ]
    assert {i for question in asked for i in question.category_ids} == set(range(6))
    assert {question.answer("en") for question in asked if question.kind == "exist"} == {"yes", "no"}
