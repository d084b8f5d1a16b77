"""The records that others read scenes from: COCO detection, and the questions and annotations of VQA v2."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..rows.languages import LANGUAGES
from ..rows.types import SceneObject, SceneRow
from .questions import QUESTION_KINDS, SceneQuestion
from .vocabulary import ATTRIBUTE_NAMES, SCENE_CLASSES

INFO = {"description": "EmojiScenes: scenes composed from the drawings of emoji7", "version": "1.0"}
LICENCE = {"id": 1, "name": "Apache-2.0, CC-BY-4.0 and MIT, by drawing: see the card of emoji7", "url": ""}
NUM_ANSWERS = 10  # of a question in VQA v2; here all equal, so that a score is 0 or 1


@contextmanager
def write_json_list(
    path: Path, header: dict, key: str, trailer: Mapping[str, object]
) -> Iterator[Callable[[dict], None]]:
    """Yield a function that adds an item to the one long list of a JSON object, so that memory does not grow with it.

    Args:
        path: of the file.
        header: fields before the list.
        key: of the list.
        trailer: fields after the list, read at the end.
    """
    separator = "\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header, ensure_ascii=False)[:-1] + f', "{key}": [')

        def add(item: dict) -> None:
            nonlocal separator
            file.write(separator + json.dumps(item, ensure_ascii=False))
            separator = ",\n"

        yield add
        fields = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in trailer.items()]
        file.write(",\n".join(["\n]", *fields]) + "}\n")


def image_name(image_id: int, image_format: str) -> str:
    """Return the path of an image below the folder of its split."""
    return f"images/{image_id:012d}.{image_format}"


def coco_header(num_classes: int) -> dict:
    """Return everything in a COCO file but images and annotations; `attributes` is not COCO's own."""
    categories = [
        {
            "id": i,
            "name": one.names["en"],
            "supercategory": one.group,
            "names": {key: one.names[key] for key in LANGUAGES},
        }
        for i, one in enumerate(SCENE_CLASSES[:num_classes])
    ]
    attributes = [{"id": i, "name": name} for i, name in enumerate(ATTRIBUTE_NAMES)]
    return {"info": INFO, "licenses": [LICENCE], "categories": categories, "attributes": attributes}


def coco_image(scene: SceneRow, file_name: str) -> dict:
    """Return one entry of `images`."""
    width, height = scene["image"].size
    entry = {"id": scene["image_id"], "file_name": file_name, "width": width, "height": height, "license": 1}
    made_of = {"background": scene["background"], "background_kind": scene["background_kind"]}
    return entry | {"seed": scene["seed"]} | made_of


def coco_annotation(one: SceneObject, annotation_id: int, image_id: int) -> dict:
    """Return one entry of `annotations`; `bbox` is x, y, width, height and `area` that of the box."""
    x1, y1, x2, y2 = one["bbox"]
    ids = {"id": annotation_id, "image_id": image_id, "category_id": one["category_id"]}
    box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
    look = {"style": one["style"], "size": one["size"], "flipped": one["flipped"], "angle": one["angle"]}
    return {**ids, **box, "attribute_ids": one["attributes"], **look}


def vqa_file_names(split: str, language: str) -> tuple[str, str]:
    """Return the names of the files of questions and of annotations."""
    name = "emojiscenes" if language == "en" else f"emojiscenes_{language}"
    return f"v2_OpenEnded_{name}_{split}_questions.json", f"v2_{name}_{split}_annotations.json"


def vqa_files(split: str, language: str, image_format: str) -> list[tuple[str, dict, str]]:
    """Return name, header and key of the list of these two files; `info` has the pattern of image paths."""
    questions, annotations = vqa_file_names(split, language)
    info = INFO | {"image_pattern": f"images/{{id:012d}}.{image_format}"}
    header = {"info": info, "data_type": "emojiscenes", "data_subtype": split, "license": LICENCE}
    return [(questions, header | {"task_type": "Open-Ended"}, "questions"), (annotations, header, "annotations")]


def vqa_records(question: SceneQuestion, number: int, image_id: int, language: str) -> tuple[dict, dict]:
    """Return the entries of a scene's question `number`, from 0, in these two files."""
    ids = {"image_id": image_id, "question_id": image_id * 100 + number}
    answer = question.answer(language)
    annotation = ids | {
        "question_type": question.kind,
        "answer_type": QUESTION_KINDS[question.kind],
        "multiple_choice_answer": answer,
        "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, NUM_ANSWERS + 1)],
    }
    return ids | {"question": question.text(language)}, annotation


__all__ = [
    "coco_annotation",
    "coco_header",
    "coco_image",
    "image_name",
    "vqa_file_names",
    "vqa_files",
    "vqa_records",
    "write_json_list",
]
