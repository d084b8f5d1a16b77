"""EmojiScenes as files: images, COCO boxes, captions as JSON lines, questions and answers as VQA v2 has them.

A split is a folder that appears when it is complete; a killed run leaves a hidden folder only, `.saving-...`.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from ..captions.text_corpus import HARD_NEGATIVES
from ..files.atomic import sync, temporary_path
from ..files.json_files import write_json
from ..rows.languages import LANGUAGES
from .coco_vqa_format import (
    coco_annotation,
    coco_header,
    coco_image,
    image_name,
    vqa_files,
    vqa_records,
    write_json_list,
)
from .dataset import Preset, generate_scenes, hash_of_sources, split_size, split_styles, text_seed
from .questions import QUESTION_LANGUAGES, answer_vocabulary, ask_questions
from .relations import generate_twins, twin_id
from .scene import CANVAS, check_scene_options
from .vocabulary import SCENE_CLASSES

MANIFEST = "scenes.json"
# suffix -> how it is saved
IMAGE_FORMATS: dict[str, dict] = {
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "quality": 85},
    "jpg": {"format": "JPEG", "quality": 90},
}


def write_emoji_scenes(
    output: str | Path,
    split: str,
    size: int | Preset = "cpu",
    *,
    num_classes: int = len(SCENE_CLASSES),
    canvas: int = CANVAS,
    image_format: Literal["png", "webp", "jpg"] = "png",
    twins: bool = False,
    show_progress: bool = False,
) -> bool:
    """Write the folder `output`/`split`; return False if it was complete already.

    The folder holds `images/`, `instances.json` (COCO; boxes are x, y, width, height; with attributes),
    `captions_LANGUAGE.jsonl` ({"image", "text": [...]}, as `read_pairs` takes them), questions and annotations of
    VQA v2 in English and, under names with `_ja`, in Japanese, `answers_en.json` and `answers_ja.json` (the closed list
    of answers), and `scenes.json` (how the folder was made, and sizes that a second run checks).

    Args:
        output: the folder of all splits.
        split: as for `load_emoji_scenes`, also the next three.
        size: a number or a preset.
        num_classes: only the first so many classes.
        canvas: pixels a side.
        image_format: "png" (no loss), "webp" (quality 85) or "jpg" (quality 90).
        twins: write `generate_twins` in place of the scenes, with sentences that tell twins apart as captions, and
            `hard_negatives.jsonl`, the twin of each image.
        show_progress: with a bar.

    Raises:
        ValueError: an option is wrong, or the folder holds something else, or is damaged.
    """
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format is {image_format!r}; it must be one of {', '.join(IMAGE_FORMATS)}.")
    settings = {"split": split, "size": split_size(split, size), "num_classes": num_classes, "canvas": canvas}
    settings |= {"image_format": image_format, "twins": twins, "sources": hash_of_sources()[:12]}
    check_scene_options(styles=split_styles(split), num_classes=num_classes, canvas=canvas)
    folder = Path(output) / split
    if folder.exists():
        _check_finished(folder, settings)
        return False
    with _folder_at_once(folder) as unfinished:
        _write(unfinished, settings, show_progress)
        write_json(unfinished / MANIFEST, settings | {"bytes": _bytes(unfinished)})
    return True


@contextmanager
def _folder_at_once(folder: Path) -> Iterator[Path]:
    unfinished = temporary_path(folder)
    unfinished.mkdir()
    try:
        yield unfinished
        for file in unfinished.glob("*.json*"):
            sync(file)
        os.replace(unfinished, folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _bytes(folder: Path) -> dict[str, int]:
    """Return the size of each text, and of all images together: lost power leaves some of them short."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.glob("*.json*")) if file.name != MANIFEST}
    return sizes | {"images": sum(entry.stat().st_size for entry in os.scandir(folder / "images"))}


def _check_finished(folder: Path, settings: dict) -> None:
    advice = "Remove it or choose another folder."
    try:
        found = dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} exists but has no readable {MANIFEST}. {advice}") from error
    other = [
        f"{name} {found.get(name)!r}, not {value!r}" for name, value in settings.items() if found.get(name) != value
    ]
    if other:
        raise ValueError(f"{folder} was made with {'; '.join(other)}. {advice}")
    if not (folder / "images").is_dir() or found.get("bytes") != _bytes(folder):
        raise ValueError(f"{folder} is damaged: files are missing or have other sizes than written. {advice}")


def _write(folder: Path, settings: dict, show_progress: bool) -> None:
    from tqdm import tqdm

    split, size, num_classes, twins = (settings[name] for name in ("split", "size", "num_classes", "twins"))
    suffix = settings["image_format"]
    (folder / "images").mkdir()
    for language in QUESTION_LANGUAGES:
        write_json(folder / f"answers_{language}.json", answer_vocabulary(language), indent=0)
    generate = generate_twins if twins else generate_scenes
    scenes = generate(split, size, num_classes=num_classes, canvas=settings["canvas"])
    with ExitStack() as stack:
        images: list[dict] = []
        add_box = stack.enter_context(
            write_json_list(folder / "instances.json", coco_header(num_classes), "annotations", {"images": images})
        )
        number_of_boxes = 0
        captions = {
            language: stack.enter_context((folder / f"captions_{language}.jsonl").open("w", encoding="utf-8"))
            for language in LANGUAGES
        }
        vqa = {
            language: [
                stack.enter_context(write_json_list(folder / name, header, key, {}))
                for name, header, key in vqa_files(split, language, suffix)
            ]
            for language in QUESTION_LANGUAGES
        }
        if twins:
            hard_negatives = stack.enter_context((folder / HARD_NEGATIVES).open("w", encoding="utf-8"))
        total = None if twins else size
        for index, scene in enumerate(tqdm(scenes, desc=split, total=total, disable=not show_progress)):
            image_id = scene["image_id"]
            name = image_name(image_id, suffix)
            scene["image"].save(folder / name, **IMAGE_FORMATS[suffix])
            images.append(coco_image(scene, name))
            if twins:
                row = {"image": name, "hard_negatives": [image_name(twin_id(image_id), suffix)]}
                hard_negatives.write(json.dumps(row) + "\n")
            for one in scene["objects"]:
                number_of_boxes += 1  # from 1: COCO's own evaluation takes 0 for "no match"
                add_box(coco_annotation(one, number_of_boxes, image_id))
            for language, file in captions.items():
                row = {"image": name, "text": scene["captions"][language]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            questions = ask_questions(scene, random.Random(text_seed(split, index)), num_classes=num_classes)
            for number, question in enumerate(questions):
                for language, lists in vqa.items():
                    for add, record in zip(lists, vqa_records(question, number, image_id, language), strict=True):
                        add(record)


__all__ = ["IMAGE_FORMATS", "MANIFEST", "write_emoji_scenes"]
