"""Questions about images in the files of VQA 2.0, and in files of that form.

`image` of a row is a path, `image_id` as `canonical_image_id` gives it; `answers` are those of all annotators as they
wrote them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ..captions.rows import find_image
from ..files.image_ids import canonical_image_id
from ..files.json_files import read_lists
from ..rows.report import BadRowError, BadRowReport
from ..rows.scripts import SCRIPTS
from ..rows.text import check_unicode, clean_caption, is_blank
from ..rows.types import QuestionRow

ANNOTATORS = 10
COCO_PATTERN = "{subtype}/COCO_{subtype}_{id:012d}.jpg"


@dataclass
class VQAData:
    """Questions.

    Attributes:
        rows: in the order of the file.
        report: what was left out.
    """

    rows: list[QuestionRow]
    report: BadRowReport


def read_vqa(
    questions: str | Path,
    annotations: str | Path | None = None,
    *,
    language: str = "en",
    image_pattern: str | None = None,
    image_root: str | Path | None = None,
    max_rows: int | None = None,
    max_bad_fraction: float = 0.1,
) -> VQAData:
    """Return the questions of a file in VQA 2.0's form, with the answers to them.

    A question is left out and counted if it is there twice, is not annotated though `annotations` are given, has empty
    answers, or its image is missing. An annotation of no question is counted, too. Without `annotations` a question
    without words stays as "?" and is counted: the file of answers must hold an answer to each.

    Args:
        questions: e.g. v2_OpenEnded_mscoco_train2014_questions.json.
        annotations: e.g. v2_mscoco_train2014_annotations.json; None for a test without answers.
        language: of both.
        image_pattern: makes the path of an image from its `id`, a number, and the `subtype` of the file. By default
            the `image_pattern` in the `info` of the file, or COCO's where its `data_type` is "mscoco".
        image_root: the folder of the images; if given, each must be there, with or without the folder in the pattern.
        max_rows: only the first so many questions.
        max_bad_fraction: raise if a greater fraction of the questions is bad.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is not of this form, the two are of different splits, or the names of images are unknown.
        TooManyBadRowsError: too many questions are bad, or all.
    """
    if language not in SCRIPTS:
        raise ValueError(f"There is no language {language!r}, only {', '.join(SCRIPTS)}.")
    path = Path(questions)
    content, report = read_lists(path, "questions"), BadRowReport(path)
    subtype = str(content.get("data_subtype") or "")
    by_question = None if annotations is None else _read_annotations(Path(annotations), subtype, report)
    pattern, collection = _naming(content, path, image_pattern)
    root = None if image_root is None else Path(os.path.abspath(image_root))
    folder = subtype.replace("test-dev", "test")  # whose images are some of the test's
    seen: set[int] = set()

    def read(place: int | str, entry: object) -> QuestionRow:
        fields = entry if isinstance(entry, dict) else {"": entry}
        number, question_id = read_ids(fields, "image_id", "question_id", seen)
        image = pattern.format(id=number, subtype=folder)
        image_id = canonical_image_id(number, collection) if collection else canonical_image_id(image)
        found = image if root is None else find_image(image, root)
        text = _read_text(fields.get("question"), question_id, report, is_test=by_question is None)
        annotation = {} if by_question is None else _find_annotation(by_question, number, question_id, report)
        return {
            "image_id": image_id,
            "image": found,
            "question_id": question_id,
            "question": text,
            "answers": annotation.get("answers"),
            "multiple_choice_answer": annotation.get("multiple_choice_answer"),
            "question_type": annotation.get("question_type"),
            "answer_type": annotation.get("answer_type"),
            "language": language,
            "split": subtype,
        }

    listed = ((f"question {number}", entry) for number, entry in enumerate(content["questions"][:max_rows]))
    rows = list(report.check_rows(listed, read))
    if by_question is not None and max_rows is None:
        for question_id in by_question.keys() - seen:
            report.add_repair("annotation without question", f"question_id {question_id}", f"none in {path.name}")
    report.raise_above(max_bad_fraction)
    report.log()
    return VQAData(rows, report)


def _naming(content: dict[str, Any], path: Path, image_pattern: str | None) -> tuple[str, str]:
    """Return the pattern of the images' paths, and their collection."""
    data_type = content.get("data_type")
    is_coco = data_type == "mscoco"
    info = content.get("info")
    own = info.get("image_pattern") if isinstance(info, dict) else None
    pattern = image_pattern or own or (COCO_PATTERN if is_coco else None)
    if pattern is None:
        raise ValueError(
            f"{path} has the data_type {data_type!r}, not 'mscoco', and no image_pattern in its info; say how its "
            'images are named, e.g. image_pattern="images/{id}.jpg".'
        )
    try:
        pattern.format(id=0, subtype="")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"image_pattern {pattern!r} has a field that is neither id nor subtype.") from error
    return pattern, "coco" if is_coco else ""


def _read_annotations(path: Path, subtype: str, report: BadRowReport) -> dict[int, dict[str, Any]]:
    shared: dict[str, str] = {}  # equal answers are one string

    def only_answer(fields: dict) -> object:
        """Return an annotator's answer without the rest, which would be most of what is in memory."""
        answer = fields.get("answer")
        return shared.setdefault(answer, answer) if isinstance(answer, str) else fields

    content = read_lists(path, "annotations", object_hook=only_answer)
    found = content.get("data_subtype")
    if found and subtype and found != subtype:
        raise ValueError(f"{path} annotates {found!r}, but the questions are of {subtype!r}; give files of one split.")
    by_question: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(content["annotations"]):
        place, question_id = f"annotation {number}", entry.get("question_id") if isinstance(entry, dict) else None
        if not is_number(question_id):
            report.add_repair("broken annotation", place, repr(entry)[:80])
        elif question_id in by_question:
            report.add_repair("duplicate annotation", place, f"question_id {question_id}")
        else:
            by_question[question_id] = entry
    return by_question


def is_number(value: object) -> TypeGuard[int]:
    """Return True for a number as ids are: whole and not negative."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_ids(fields: Mapping[str, object], image_key: str, question_key: str, seen: set[int]) -> tuple[int, int]:
    """Return the numbers of an entry's image and question, and add that of the question to those seen.

    Raises:
        BadRowError: they are no numbers, or the question was seen.
    """
    number, question_id = fields.get(image_key), fields.get(question_key)
    if not is_number(number) or not is_number(question_id):
        raise BadRowError("broken question", repr(fields)[:200])
    if question_id in seen:
        raise BadRowError("duplicate question", f"{question_key} {question_id} is there twice")
    seen.add(question_id)
    return number, question_id


def _read_text(question: object, question_id: int, report: BadRowReport, *, is_test: bool) -> str:
    """Return the question; "?" in its place where a test has none: every question of a test is answered."""
    try:
        return clean_caption(question)
    except BadRowError as error:
        if not is_test:
            raise
        report.add_repair("question without words", f"question_id {question_id}", str(error))
        return "?"


def _find_annotation(
    annotations: dict[int, dict[str, Any]], number: int, question_id: int, report: BadRowReport
) -> dict[str, Any]:
    """Return the annotation of a question; of its answers some may be empty, but not all."""
    annotation, place = annotations.get(question_id), f"question_id {question_id}"
    if annotation is None:
        raise BadRowError("question without annotation", place)
    if annotation.get("image_id", number) != number:
        raise BadRowError("another image", f"{place}: {number} and {annotation['image_id']}")
    answers = annotation.get("answers")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise BadRowError("broken annotation", repr(annotation)[:200])
    for answer in answers:
        check_unicode(answer)
    if all(map(is_blank, answers)):
        raise BadRowError("empty answers", repr(answers)[:80])
    if len(answers) not in (1, ANNOTATORS):
        report.add_repair("unusual number of answers", place, f"{len(answers)}, neither 1 nor {ANNOTATORS}")
    return annotation


__all__ = ["VQAData", "is_number", "read_ids", "read_vqa"]
