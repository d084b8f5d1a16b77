"""The data a region detector is trained and evaluated on: EmojiScenes, or COCO detection files of the user's own."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from ...data.detection.coco import DetectionData, read_coco_detection
from ...data.detection.dataset import DetectionRows
from ...data.emoji_scenes.dataset import load_emoji_scenes, parse_size
from ...data.rows.report import BadRowReport
from ...processing.augmentation.detection import DetectionAugmentation
from ...processing.image_decoding import decode_image
from ..option_conflicts import Overrules
from ..recipe_options import option

SCENES = "emoji_scenes"
SCENE_TESTS = ("test", "test_style")  # styles of the training, and one that it never saw


@dataclass
class DetectionDataArguments:
    """The data to train and evaluate on."""

    data: str = option(SCENES, '"emoji_scenes", or a COCO detection file')
    image_root: str | None = option(None, "folder of the images, if not beside the file")
    test_data: str | None = option(None, "COCO detection file with the same categories, evaluated on at the end")
    test_image_root: str | None = option(None, "folder of its images")
    attributes: bool = option(True, "also learn the attributes of the boxes")
    scenes: str = option("cpu", "size of EmojiScenes: tests, cpu, gpu, or a number")
    scene_options: dict = option({}, "num_classes and canvas of EmojiScenes")
    shuffle_labels: bool = option(False, "a control: boxes keep their place, not their class")
    max_bad_fraction: float = option(0.1, "stop if a greater fraction of the images is bad", low=0, high=1)
    check_images: bool = option(True, "decode every image before training")
    augmentation: Annotated[dict, DetectionAugmentation] = option({}, "fields of DetectionAugmentation")

    OVERRULES: ClassVar = (
        Overrules("data", ("image_root", "test_data", "test_image_root"), lambda data: data == SCENES, "a file"),
        Overrules("data", ("scenes", "scene_options"), lambda data: data != SCENES, f"--data {SCENES}"),
    )


def load_training_data(
    args: DetectionDataArguments, seed: int, *, check_image: Callable[[str], object] = decode_image
) -> DetectionData:
    """Return the images to train on, the names of classes and attributes, and what was left out.

    `check_image` is called with each image of a file, as `read_coco_detection` calls it.
    """
    if args.data == SCENES:
        data = _load(args, "detect")
    else:
        data = _read(args, args.data, args.image_root, check_image=check_image)
    if not args.attributes:
        data.attribute_names = []
    if args.shuffle_labels:
        options = {"num_classes": len(data.class_names), "seed": seed}
        data.dataset = data.dataset.map(_shuffle_labels, with_indices=True, fn_kwargs=options)
    return data


def load_test_data(args: DetectionDataArguments, training: DetectionData) -> dict[str, DetectionRows]:
    """Return what is evaluated on, by name; the classes are those of the training."""
    if args.data == SCENES:
        return {split: DetectionRows(_load(args, split).dataset) for split in SCENE_TESTS}
    if args.test_data is None:
        return {}
    data = _read(
        args,
        args.test_data,
        args.test_image_root or args.image_root,
        class_names=training.class_names,
        attribute_names=training.attribute_names,
    )
    return {"test": DetectionRows(data.dataset)}


def _load(args: DetectionDataArguments, split: str) -> DetectionData:
    scenes = load_emoji_scenes(split, parse_size(args.scenes), **args.scene_options)
    objects = scenes.features["objects"].feature
    dataset = scenes.map(_to_coco, remove_columns=[c for c in scenes.column_names if c not in ("image", "image_id")])
    names = objects["category_id"].names, objects["attributes"].feature.names
    return DetectionData(dataset, *names, BadRowReport(SCENES, len(dataset)))


def _to_coco(scene: dict) -> dict:
    objects = []
    for item in scene["objects"]:
        x1, y1, x2, y2 = item["bbox"]
        bbox = [x1, y1, x2 - x1, y2 - y1]
        objects.append({"bbox": bbox, "category_id": item["category_id"], "attribute_ids": item["attributes"]})
    return {"objects": objects}


def _read(
    args: DetectionDataArguments,
    file: str,
    image_root: str | None,
    *,
    check_image: Callable[[str], object] = decode_image,
    class_names: list[str] | None = None,
    attribute_names: list[str] | None = None,
) -> DetectionData:
    data = read_coco_detection(
        Path(file),
        image_root=image_root,
        max_bad_fraction=args.max_bad_fraction,
        check_image=check_image if args.check_images else None,
        class_names=class_names,
        attribute_names=attribute_names,
    )
    if not any(map(len, data.dataset["objects"])):
        raise ValueError(f"{file} has no box in any of its {len(data.dataset)} images: nothing to learn or to find.")
    return data


def _shuffle_labels(row: dict, index: int, *, num_classes: int, seed: int) -> dict:
    draw = random.Random(f"{seed}-{index}")
    return {"objects": [item | {"category_id": draw.randrange(num_classes)} for item in row["objects"]]}


__all__ = ["SCENES", "SCENE_TESTS", "DetectionDataArguments", "load_test_data", "load_training_data"]
