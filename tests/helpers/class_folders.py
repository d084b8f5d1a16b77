"""Class folders and class files of tiny images for zero-shot classification, also those of docs/zero_shot.md."""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from wenlan.data import load_emoji7

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "purple", "orange")
NAMES = {"apple": "苹果", "cat": "猫", "lake": "湖", "snow": "雪", "hill": "山", "red": "红色"}  # of the tiny BriVL


def image_bytes(number: int, kind: str = "PNG", size: int = 24) -> bytes:
    """Returns an encoded image; its number decides the colours of its two halves."""
    image = Image.new("RGB", (size, size), COLOURS[number % len(COLOURS)])
    image.paste(COLOURS[number // len(COLOURS) % len(COLOURS)], (0, 0, size // 2, size))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_class_folders(root: Path, images: Mapping[str, int]) -> Path:
    """Writes so many images into a folder for each class id; returns the root."""
    number = 0
    for class_id, count in images.items():
        (root / class_id).mkdir(parents=True)
        for index in range(count):
            (root / class_id / f"{index}.png").write_bytes(image_bytes(number))
            number += 1
    return root


def write_class_file(path: Path, names: Mapping[str, str] = NAMES) -> Path:
    """Writes a class file with Chinese names."""
    path.write_text("".join(f"{class_id}\t{name}\n" for class_id, name in names.items()), "utf-8")
    return path


def write_zero_shot_files(folder: Path) -> None:
    """Writes animals of emoji7 as class folders, their names, templates, and a suite of both."""
    names = {}
    for row in (
        load_emoji7()["test"].filter(lambda group: group == "Animals & Nature", input_columns="group").select(range(6))
    ):
        names[row["concept"]] = row["name_zh"]
        (folder / "animals" / row["concept"]).mkdir(parents=True)
        row["image"].save(folder / "animals" / row["concept"] / "fluent3d.png")
    write_class_file(folder / "animals.tsv", names)
    (folder / "prompts.txt").write_text("一张{}的照片\n这是{}\n", "utf-8")
    entry = "- name: {}\n  images: animals\n  classes: animals.tsv\n"
    suite = entry.format("animals") + entry.format("animals_prompts") + "  templates: prompts.txt\n"
    (folder / "suite.yaml").write_text(suite, "utf-8")
