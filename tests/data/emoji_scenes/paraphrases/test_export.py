import json
from pathlib import Path

import pytest
from PIL import Image
from wenlan.data import CLASS_NAMES, LANGUAGES, generate_scenes, read_vqa
from wenlan.data.emoji_scenes.export import write_emoji_scenes
from wenlan.data.emoji_scenes.paraphrases.export import WORDINGS, scene_caption, write_paraphrases

CLASSES = CLASS_NAMES["en"]


def read_captions(folder, wording, language):
    lines = (folder / wording / f"captions_{language}.jsonl").read_text("utf-8").splitlines()
    return {row["image"]: row["text"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_paraphrases(tmp_path_factory.mktemp("paraphrases"), "test", 6)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    output = tmp_path_factory.mktemp("scenes")
    write_emoji_scenes(output, "test", 6)
    return output / "test"


def thing(name, x, size):
    side = 60 if size == "big" else 30
    return {"category_id": CLASSES.index(name), "bbox": [x - side / 2, 0, x + side / 2, side], "size": size}


def scene(kind, number):
    """A known scene, whose caption is of this kind."""
    objects = [thing("cat", 40, "big"), thing("wolf", 150, "small"), thing("cat", 120, "small")]
    found = {"image": Image.new("RGB", (192, 192)), "background": "blue", "objects": objects, "image_id": number}
    return found | {"caption_kinds": [kind], "captions": {language: ["template"] for language in LANGUAGES}}


def test_caption_says_what_lies_where_in_other_words():
    found = {scene_caption(scene("sides", number), "en", "paraphrases") for number in range(20)}
    assert found == {
        "On one side, the left-hand one, we see a kitty, across from it a wild wolf as well as a kitty, and it is all "
        "blue behind them.",
        "The right half contains a wild wolf as well as a kitty, the other half contains a kitty, and the paper is "
        "blue.",
        "Going from left to right we first meet a kitty, then a wild wolf as well as a kitty, in front of blue.",
    }


def test_things_are_counted_in_words_or_as_in_the_templates():
    texts = {wording: scene_caption(scene("all", 3), "zh", wording) for wording in WORDINGS}
    assert texts["templates"] == "template"
    assert "猫×2以及狼" in texts["sentences"]
    assert "两只猫咪以及一匹野狼" in texts["paraphrases"]


def test_sizes_are_not_mixed_up():
    found = {scene_caption(scene("sizes", number), "fr", "paraphrases") for number in range(20)}
    big, small = "un minou", "un prédateur qui hurle et aussi un minou"
    assert found == {
        f"On a dessiné {big} en format géant et {small} en miniature, devant du bleu.",
        f"Voici {big} en version énorme et {small} en version minuscule, avec du bleu tout autour.",
        f"Ce qui est minuscule, c'est {small} ; ce qui est immense, c'est {big} ; et derrière, tout est bleu.",
    }


def test_no_caption_of_a_paraphrase_is_one_of_the_training(folder, scenes):
    for language in LANGUAGES:
        lines = (scenes / f"captions_{language}.jsonl").read_text("utf-8").splitlines()
        trained = {text for row in map(json.loads, lines) for text in row["text"]}
        for wording in ("sentences", "paraphrases"):
            texts = [text for one in read_captions(folder, wording, language).values() for text in one]
            assert len(texts) == 6
            assert trained.isdisjoint(texts)
        assert {text for one in read_captions(folder, "templates", language).values() for text in one} <= trained


def test_images_are_those_of_the_scenes(folder, scenes):
    for wording in WORDINGS:
        assert all((scenes / image).is_file() for image in read_captions(folder, wording, "ja"))


def test_questions_are_the_same_in_other_words(folder, scenes):
    for name in ("v2_OpenEnded_emojiscenes_test_questions.json", "v2_OpenEnded_emojiscenes_ja_test_questions.json"):
        language = "ja" if "_ja_" in name else "en"
        files = [scenes / name, folder / "templates" / name, folder / "paraphrases" / name]
        trained, same, other = (read_vqa(file, find_answers(file), language=language).rows for file in files)
        assert [row["question"] for row in same] == [row["question"] for row in trained]
        for ours, theirs in zip(other, trained, strict=True):
            assert ours["question"] != theirs["question"]
            assert "{" not in ours["question"]
            assert [ours[key] for key in ("question_id", "image_id", "answers")] == [
                theirs[key] for key in ("question_id", "image_id", "answers")
            ]


def find_answers(questions: Path) -> Path:
    return questions.with_name(questions.name.replace("OpenEnded_", "").replace("questions", "annotations"))


def test_same_scenes_give_the_same_sentences(folder, tmp_path):
    again = write_paraphrases(tmp_path, "test", 6)
    for path in folder.rglob("*.json*"):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes()


def test_scenes_that_models_train_on_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'finetune' is none of validation, test, test_style"):
        write_paraphrases(tmp_path, "finetune", 5)
    with pytest.raises(ValueError, match="no split 'tset'"):
        write_paraphrases(tmp_path, "tset", 5)
    assert not list(tmp_path.iterdir())


def test_a_paraphrase_follows_from_the_image_alone():
    rows = list(generate_scenes("validation", 3))
    texts = [scene_caption(row, "fr", "paraphrases") for row in rows]
    assert texts == [scene_caption(row, "fr", "paraphrases") for row in reversed(rows)][::-1]
