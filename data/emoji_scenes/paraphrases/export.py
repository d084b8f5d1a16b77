"""Captions and questions of held scenes in other words, as files; the sentences of the training stand beside them.

Images, regions and answers are those of EmojiScenes. Nothing here is trained on.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from ...files.atomic import atomic_files
from ...files.json_files import write_json
from ...rows.languages import LANGUAGES
from ...rows.types import SceneObject, SceneRow
from ..backgrounds import COLOURS
from ..captions import GRAMMARS
from ..coco_vqa_format import image_name, vqa_files, vqa_records, write_json_list
from ..dataset import EVALUATION_SPLITS, Preset, generate_scenes, split_size, text_seed
from ..questions import QUESTION_LANGUAGES, SceneQuestion, ask_questions
from ..vocabulary import CLASS_NAMES, COLOUR_NAMES
from .sentences import load_sentences

Wording = Literal["templates", "sentences", "paraphrases"]
# templates: what models are trained on; sentences: others, with the same names; paraphrases: others, with other nouns
WORDINGS: tuple[Wording, ...] = ("templates", "sentences", "paraphrases")
ASKED: tuple[Wording, ...] = ("templates", "paraphrases")  # in which there are questions
MANIFEST = "paraphrases.json"


def write_paraphrases(
    output: str | Path, split: str = "test", size: int | Preset = "cpu", *, image_format: str = "png"
) -> Path:
    """Write and return the folder `output`/`split`, with a folder for each of `WORDINGS`.

    Each has `captions_LANGUAGE.jsonl`, one caption an image, of the same kind in all; the first and the last also
    questions and annotations of VQA v2 in English and Japanese, the same questions with the same numbers.

    Args:
        output: the folder of all splits.
        split: "validation", "test" or "test_style".
        size: as for `load_emoji_scenes`.
        image_format: as for `write_emoji_scenes`, which wrote the images.

    Raises:
        ValueError: an unknown split or size, or a split to train on.
    """
    size = split_size(split, size)
    if split not in EVALUATION_SPLITS:
        raise ValueError(f"Paraphrases are to evaluate on: {split!r} is none of {', '.join(EVALUATION_SPLITS)}.")
    folder = Path(output) / split
    with atomic_files(folder, last=MANIFEST) as unfinished, ExitStack() as stack:
        add_caption = {
            (wording, language): _open_lines(stack, unfinished / wording / f"captions_{language}.jsonl")
            for wording in WORDINGS
            for language in LANGUAGES
        }
        add_records = {
            (wording, language): [
                stack.enter_context(write_json_list(unfinished / wording / name, header, key, {}))
                for name, header, key in vqa_files(split, language, image_format)
            ]
            for wording in ASKED
            for language in QUESTION_LANGUAGES
        }
        for index, scene in enumerate(generate_scenes(split, size)):
            image = image_name(scene["image_id"], image_format)
            for wording, language in add_caption:
                add_caption[wording, language]({"image": image, "text": [scene_caption(scene, language, wording)]})
            for number, question in enumerate(ask_questions(scene, random.Random(text_seed(split, index)))):
                for (wording, language), lists in add_records.items():
                    record, annotation = vqa_records(question, number, scene["image_id"], language)
                    if wording == "paraphrases":
                        record["question"] = question_paraphrase(question, language, record["question_id"])
                    for add, row in zip(lists, (record, annotation), strict=True):
                        add(row)
        stack.close()
        write_json(unfinished / MANIFEST, {"split": split, "size": size, "image_format": image_format})
    return folder


def scene_caption(scene: SceneRow, language: str, wording: Wording) -> str:
    """Return a caption of a scene; kind and sentence follow from `image_id`, and are the same in all languages."""
    rng = random.Random(scene["image_id"])
    place = rng.randrange(len(scene["caption_kinds"]))
    kind, number = scene["caption_kinds"][place], rng.random()
    if wording == "templates":
        return scene["captions"][language][place]
    sentences = load_sentences()[language].captions[kind]
    middle = scene["image"].width / 2
    chosen: dict[str, Callable[[SceneObject], bool]] = {
        "i": lambda one: True,
        "l": lambda one: one["bbox"][0] + one["bbox"][2] < 2 * middle,
        "r": lambda one: one["bbox"][0] + one["bbox"][2] > 2 * middle,
        "B": lambda one: one["size"] == "big",
        "S": lambda one: one["size"] == "small",
    }
    words = {letter: _list(filter(is_in, scene["objects"]), language, wording) for letter, is_in in chosen.items()}
    colour = COLOUR_NAMES[language][COLOURS.index(scene["background"])]
    text = sentences[int(number * len(sentences))].format(**words, b=colour)
    return text[0].upper() + text[1:]


def question_paraphrase(question: SceneQuestion, language: str, number: int) -> str:
    """Return a question in other words; which of them follows from a number, such as its id.

    Raises:
        KeyError: there are no questions in this language.
    """
    sentences = load_sentences()[language]
    texts, nouns = sentences.questions[question.template], [sentences.nouns[one] for one in question.category_ids]
    words = dict(zip("xy", (noun.name for noun in nouns), strict=False))
    if nouns:
        words |= {"one": nouns[0].phrase(1, sentences.numbers), "many": nouns[0].plural}
    text = random.Random(number).choice(texts).format(**words)
    return text[0].upper() + text[1:]


def _list(objects: "filter[SceneObject]", language: str, wording: Wording) -> str:
    """Return the things by their names as in the templates, or by other nouns."""
    sentences = load_sentences()[language]
    items = []
    for one, count in Counter(one["category_id"] for one in objects).items():
        if wording == "paraphrases":
            items.append(sentences.nouns[one].phrase(count, sentences.numbers))
        else:
            items.append(CLASS_NAMES[language][one] + GRAMMARS[language].times.format(n=count) * (count > 1))
    return sentences.last.join([sentences.separator.join(items[:-1])] * (len(items) > 1) + items[-1:])


def _open_lines(stack: ExitStack, path: Path) -> Callable[[dict], object]:
    path.parent.mkdir(exist_ok=True)
    file = stack.enter_context(path.open("w", encoding="utf-8"))
    return lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")


__all__ = ["WORDINGS", "Wording", "question_paraphrase", "scene_caption", "write_paraphrases"]
