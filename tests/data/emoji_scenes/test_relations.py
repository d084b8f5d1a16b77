import json
import random
import re

import pytest
from helpers.mlmm.corpus_files import write_regions
from wenlan.data import LANGUAGES, generate_scene, generate_scenes, write_emoji_scenes
from wenlan.data.emoji_scenes.relations import SENTENCES, generate_twins, mirror_scene, twin_id, twin_rows
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.processing import load_small_tokenizer
from wenlan.training.mlmm.data import CorpusArguments, load_corpus

SENTENCE = re.compile(r"The (.+) is (left|right) of the (.+)\.")


def pairs_of_twins(split, size, **options):
    rows = list(generate_twins(split, size, **options))
    return list(zip(rows[::2], rows[1::2], strict=True))


@pytest.fixture(scope="module")
def pairs():
    return pairs_of_twins("test", 60)


def is_true(sentence, scene):
    one, side, other = SENTENCE.fullmatch(sentence).groups()
    centre = {}
    for thing in scene["objects"]:
        name = CLASS_NAMES["en"][thing["category_id"]]
        centre.setdefault(name, []).append((thing["bbox"][0] + thing["bbox"][2]) / 2)
    (x,), (y,) = centre[one], centre[other]
    return (x < y) == (side == "left")


def test_each_sentence_is_true_of_its_scene_and_false_of_the_twin(pairs):
    for scene, twin in pairs:
        for row, other in ((scene, twin), (twin, scene)):
            assert 1 <= len(row["captions"]["en"]) <= SENTENCES
            assert all(is_true(sentence, row) and not is_true(sentence, other) for sentence in row["captions"]["en"])


def test_both_sides_are_named_as_often():
    """Else the words would tell which of the two is the twin."""
    sides = [SENTENCE.fullmatch(row["captions"]["en"][0])[2] for row, _ in pairs_of_twins("finetune", 200)]
    assert sides.count("left") / len(sides) == pytest.approx(0.5, abs=0.1)


def test_all_languages_name_the_same_things(pairs):
    for scene, _ in pairs[:5]:
        for place, sentence in enumerate(scene["captions"]["en"]):
            one, _, other = SENTENCE.fullmatch(sentence).groups()
            for language in LANGUAGES:
                for name in (one, other):
                    assert CLASS_NAMES[language][CLASS_NAMES["en"].index(name)] in scene["captions"][language][place]


def test_mirrored_twice_a_scene_is_the_same():
    scene = generate_scene(5)
    mirrored = mirror_scene(scene)
    assert mirrored["image"].tobytes() != scene["image"].tobytes()
    again = mirror_scene(mirrored)
    assert again["image"].tobytes() == scene["image"].tobytes()
    assert again["objects"] == scene["objects"]


def test_boxes_of_the_twin_hold_the_mirrored_things(pairs):
    scene, twin = pairs[0]
    for one, other in zip(scene["objects"], twin["objects"], strict=True):
        assert scene["image"].crop(one["bbox"]).size == twin["image"].crop(other["bbox"]).size
        flipped = mirror_scene({**scene, "image": scene["image"].crop(one["bbox"])})["image"]
        assert flipped.tobytes() == twin["image"].crop(other["bbox"]).tobytes()


def test_what_an_evaluation_sentence_names_is_in_no_other_scene(pairs):
    scenes = list(generate_scenes("test", 60))
    for scene, _ in pairs:
        for sentence in scene["captions"]["en"]:
            one, _, other = SENTENCE.fullmatch(sentence).groups()
            wanted = {CLASS_NAMES["en"].index(name) for name in (one, other)}
            assert sum(wanted <= {thing["category_id"] for thing in row["objects"]} for row in scenes) == 1


def test_scene_without_two_single_things_has_no_twin():
    scene = generate_scene(5)
    same = {**scene, "objects": [scene["objects"][0]] * 2}
    assert twin_rows(same, random.Random(0)) == []


def test_written_twins_are_a_corpus_with_the_twin_as_hard_negative(tmp_path):
    assert write_emoji_scenes(tmp_path, "finetune", 6, twins=True, num_classes=16, canvas=128)
    rows = list(generate_twins("finetune", 6, num_classes=16, canvas=128))
    lines = (tmp_path / "finetune" / "captions_zh.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [row["captions"]["zh"] for row in rows]
    names = {f"{row['image_id']:012d}.png": [0] for row in rows}
    assert {file.name for file in (tmp_path / "finetune" / "images").iterdir()} == names.keys()
    write_regions(tmp_path / "regions", names)
    source = {"regions": str(tmp_path / "regions"), "captions": str(tmp_path / "finetune")}
    corpus, _ = load_corpus(source, CorpusArguments(), load_small_tokenizer())
    assert corpus.hard_negatives == {place: [place ^ 1] for place in range(len(rows))}
    with pytest.raises(ValueError, match="was made with twins True, not False"):
        write_emoji_scenes(tmp_path, "finetune", 6, num_classes=16, canvas=128)


def test_twin_of_the_twin_is_the_scene():
    assert twin_id(5_000_016) == 15_000_016
    assert twin_id(twin_id(5_000_016)) == 5_000_016


def test_split_without_any_sentence_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("wenlan.data.emoji_scenes.relations.CLEARANCE", 10_000)
    with pytest.raises(ValueError, match="draw more scenes"):
        write_emoji_scenes(tmp_path, "test", 2, twins=True)
    assert list(tmp_path.iterdir()) == []
