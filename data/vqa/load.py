"""Files of questions in either form: that of VQA 2.0, or VQA VG Japanese."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..files.json_files import holds_list
from .vg_japanese import read_vqa_vg_japanese
from .vqa2 import VQAData, read_vqa

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class QuestionSource:
    """A file of questions, and what it does not say itself.

    Attributes:
        questions: the file.
        annotations: the file of its answers, None where there is none; VQA VG Japanese holds them itself.
        language: of both.
        split: of VQA VG Japanese, which is one file.
    """

    questions: str
    annotations: str | None
    language: str
    split: Split


def read_questions(
    source: QuestionSource,
    *,
    image_pattern: str | None = None,
    image_data: str | None = None,
    max_bad_fraction: float = 0.1,
) -> VQAData:
    """Return the questions of a file; a JSON list is VQA VG Japanese.

    Args:
        image_pattern: as for `read_vqa`.
        image_data: as for `read_vqa_vg_japanese`; without it, VQA VG Japanese is split by ids.
        max_bad_fraction: as for both.

    Raises:
        ValueError: the file is VQA VG Japanese, and said to be in another language; and as the readers.
    """
    path, language = source.questions, source.language
    if not holds_list(Path(path)):
        return read_vqa(
            path, source.annotations, language=language, image_pattern=image_pattern, max_bad_fraction=max_bad_fraction
        )
    if language != "ja":
        raise ValueError(f"{path} has the form of VQA VG Japanese; its language is ja, not {language}.")
    split_by: Literal["folder", "id"] = "folder" if image_data else "id"
    return read_vqa_vg_japanese(
        path, source.split, image_data=image_data, split_by=split_by, max_bad_fraction=max_bad_fraction
    )


def find_annotations(questions: str | Path) -> str | None:
    """Return the file beside one of questions that has the official name of its answers, None if there is none.

    `v2_OpenEnded_mscoco_train2014_questions.json` goes with `v2_mscoco_train2014_annotations.json`.
    """
    path = Path(questions)
    other = path.with_name(path.name.replace("OpenEnded_", "").replace("questions", "annotations"))
    return str(other) if other != path and other.is_file() else None


__all__ = ["QuestionSource", "Split", "find_annotations", "read_questions"]
