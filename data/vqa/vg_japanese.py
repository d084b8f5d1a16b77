"""VQA VG Japanese: questions in Japanese about the images of Visual Genome, one answer each.

There is no official split. By the rule of UC2's author the images in Visual Genome's folder VG_100K_2 are for
validation (37,674 of 99,208, as a user counted) and the others for training.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from ..captions.rows import find_image
from ..files.image_ids import canonical_image_id
from ..files.json_files import read_json
from ..rows.report import BadRowError, BadRowReport
from ..rows.text import clean_caption, is_blank
from ..rows.types import QuestionRow
from .vqa2 import VQAData, read_ids

FOLDERS = {"VG_100K": "train", "VG_100K_2": "validation"}
ID_RULE = 10  # every tenth number


def read_vqa_vg_japanese(
    file: str | Path,
    split: Literal["train", "validation"] | None = None,
    *,
    image_root: str | Path | None = None,
    image_data: str | Path | None = None,
    split_by: Literal["folder", "id"] = "folder",
    max_rows: int | None = None,
    max_bad_fraction: float = 0.1,
) -> VQAData:
    """Return the questions of VQA VG Japanese as `read_vqa` gives them; `answers` is a list of one.

    Args:
        file: JSON, [{"id", "qas": [{"qa_id", "image_id", "question", "answer"}, ...]}, ...].
        split: only the questions of one split.
        image_root: the folder that holds VG_100K and VG_100K_2; each image must be in one of them.
        image_data: Visual Genome's image_data.json, whose URLs name the folder; an alternative to `image_root`, which
            `split_by="folder"` needs one of.
        split_by: "folder" as above, or "id": images whose number ends in 0 are for validation, a rule of ours that
            needs the questions alone.
        max_rows: only the first so many questions, of all splits.
        max_bad_fraction: raise if a greater fraction of the questions is bad.

    Raises:
        FileNotFoundError: no such file, or the root holds neither of the folders.
        ValueError: the file is not of this form, or the folders are unknown.
        TooManyBadRowsError: too many questions are bad, or none is left.
    """
    if split not in (None, "train", "validation"):
        raise ValueError(f"split is {split!r}; it must be train or validation.")
    path = Path(file)
    content, report = read_json(path), BadRowReport(path)
    if not isinstance(content, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("qas"), list) for entry in content
    ):
        raise ValueError(f"{path} is not a list of images with their `qas`; is it question_answers.json?")
    root = None if image_root is None else Path(os.path.abspath(image_root))
    folder_of = _folders(root, image_data, split_by)
    questions = [question for entry in content for question in entry["qas"]][:max_rows]
    listed = ((f"question {number}", question) for number, question in enumerate(questions))
    seen: set[int] = set()

    def read(place: int | str, entry: object) -> QuestionRow:
        fields = entry if isinstance(entry, dict) else {"": entry}
        number, question_id = read_ids(fields, "image_id", "qa_id", seen)
        answer = fields.get("answer")
        if not isinstance(answer, str) or is_blank(answer):
            raise BadRowError("empty answers", repr(answer)[:80])
        folder = folder_of(number)
        image = f"{folder}/{number}.jpg" if folder else f"{number}.jpg"
        by_id = "train" if number % ID_RULE else "validation"
        return {
            "image_id": canonical_image_id(number, "visual_genome"),
            "image": image if root is None else find_image(image, root),
            "question_id": question_id,
            "question": clean_caption(fields.get("question")),
            "answers": [answer],
            "multiple_choice_answer": answer,
            "question_type": None,
            "answer_type": None,
            "language": "ja",
            "split": FOLDERS[folder] if split_by == "folder" else by_id,
        }

    rows = list(report.check_rows(listed, read))
    report.raise_above(max_bad_fraction)
    report.log()
    if split is not None and not (rows := [row for row in rows if row["split"] == split]):
        raise ValueError(f"{path} has no question of the split {split!r}.")
    return VQAData(rows, report)


def _folders(root: Path | None, image_data: str | Path | None, split_by: str) -> Callable[[int], str]:
    """Return a function from an image's number to its folder; "" where that is unknown and need not be known."""
    if split_by not in ("folder", "id"):
        raise ValueError(f"split_by is {split_by!r}; it must be folder or id.")
    names: dict[int, str] = {}
    if image_data is not None:
        names = _folders_of_urls(Path(image_data))
    elif root is not None:
        for folder in FOLDERS:
            if (root / folder).is_dir():
                stems = (entry.name.rpartition(".")[0] for entry in os.scandir(root / folder))
                names |= {int(stem): folder for stem in stems if stem.isdecimal()}
        if not names and split_by == "folder":
            raise FileNotFoundError(f"{root} has no images in {' or '.join(FOLDERS)}; give the folder that holds both.")
    elif split_by == "folder":
        raise ValueError(
            "The split is by the folder of an image: give image_root, the folder of VG_100K and VG_100K_2, or "
            'image_data, the image_data.json of Visual Genome; or split_by="id".'
        )

    def find(number: int) -> str:
        if number not in names and split_by == "folder":
            raise BadRowError("file missing", f"image {number} is in neither of {', '.join(FOLDERS)}")
        return names.get(number, "")

    return find


def _folders_of_urls(path: Path) -> dict[int, str]:
    content: Any = read_json(path)  # its form is checked by reading it
    try:
        folders = {entry["image_id"]: urlparse(entry["url"]).path.split("/")[-2] for entry in content}
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a list of images with image_id and url ({error!r}).") from error
    if unknown := set(folders.values()) - FOLDERS.keys():
        raise ValueError(f"{path}: images are in {sorted(unknown)[0]!r}, which is none of {', '.join(FOLDERS)}.")
    return folders


__all__ = ["read_vqa_vg_japanese"]
