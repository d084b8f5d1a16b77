"""Questions to fine-tune MLMM on and to evaluate it by: files of VQA 2.0 and VQA VG Japanese, joined with regions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch.utils.data import Dataset

from ...data.files.json_files import holds_list
from ...data.regions.load import read_regions
from ...data.regions.lookup import RegionFinder
from ...data.rows.report import BadRowReport, TooManyBadRowsError
from ...data.vqa.answer_vocabulary import build_answers, read_answers
from ...data.vqa.vg_japanese import read_vqa_vg_japanese
from ...data.vqa.vqa2 import VQAData, read_vqa
from ...evaluation.vqa.report import prepare_for
from ...processing.collators.mlmm_finetuning import soft_targets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
NO_REGIONS = {"features": np.zeros((0, 0), np.float32), "boxes": np.zeros((0, 4), np.float32)}
PIECE = 1000  # questions tokenised together


@dataclass
class QuestionArguments:
    """What is trained and evaluated on. Lists of files go together: the first annotations with the first questions."""

    questions: list[str] = field(default_factory=list, metadata={"help": "files of questions to train on"})
    annotations: list[str] = field(
        default_factory=list,
        metadata={"help": "their answers; by default the files beside them that have the official names"},
    )
    languages: list[str] = field(default_factory=lambda: ["en"], metadata={"help": "of each file, or one for all"})
    regions: list[str] = field(default_factory=list, metadata={"help": "folders with the regions of the images"})
    test_questions: list[str] = field(default_factory=list, metadata={"help": "files of questions to evaluate on"})
    test_annotations: list[str] = field(
        default_factory=list, metadata={"help": "as annotations; without any, there is only a file of answers"}
    )
    test_languages: list[str] = field(default_factory=lambda: ["en"], metadata={"help": "as languages"})
    test_regions: list[str] = field(default_factory=list, metadata={"help": "folders with their regions"})
    image_pattern: str | None = field(
        default=None,
        metadata={"help": "how images are named, from id and subtype; by default as COCO or EmojiScenes do"},
    )
    image_data: str | None = field(
        default=None,
        metadata={"help": "of Visual Genome: VQA VG Japanese is split by the folders in it, else by ids"},
    )
    answers: list[str] = field(
        default_factory=list, metadata={"help": "files with lists of answers, in place of counting those of training"}
    )
    min_answer_questions: int = field(
        default=9,
        metadata={"help": "of each language, answers that so many questions have (VQA 2.0: 9, 3,129 answers)"},
    )
    max_answers: int | None = field(
        default=None, metadata={"help": "of each language, the so many most common instead (VQA VG Japanese: 3000)"}
    )
    nfkc_answers: bool = field(
        default=False, metadata={"help": "write answers in other languages than English in compatibility form"}
    )
    max_bad_fraction: float = field(
        default=0.1, metadata={"help": "stop if a greater fraction of a file's questions cannot be used"}
    )

    def folders(self, *, predict_only: bool) -> list[list[str]]:
        """Return the folders of regions that are needed, of training and of the test.

        Raises:
            ValueError: questions are there without regions, or there are none.
        """
        needed = {"test_": (self.test_questions, self.test_regions)}
        if not predict_only:
            needed[""] = self.questions, self.regions
        problems = [
            f"{name}questions without {name}regions" for name, (some, paths) in needed.items() if some and not paths
        ]
        if not (self.test_questions if predict_only else self.questions):
            problems.append("no test_questions to answer" if predict_only else "no questions to train on")
        if problems:
            raise ValueError(f"The questions cannot be used: {'; '.join(problems)}.")
        return [paths for some, paths in needed.values() if some]


@dataclass
class QuestionFile:
    """The questions of one file that were kept.

    Attributes:
        path: of the file.
        language: of the questions.
        rows: as the readers of `wenlan.data` give them.
        places: (n,) the row of `regions` of each question's image, -1 where there is none.
        left_out: how many questions were left out, by cause.
        notes: how many were kept though something is odd, by cause.
        report: of the reader.
    """

    path: str
    language: str
    rows: list[Row]
    places: np.ndarray
    left_out: Counter[str]
    notes: Counter[str]
    report: BadRowReport

    @property
    def is_annotated(self) -> bool:
        """True if there are answers to evaluate by."""
        return self.rows[0]["answers"] is not None

    def leave_out(self, cause: str, bad: np.ndarray) -> None:
        """Remove and count the questions where `bad` (n,) is True."""
        if bad.any():
            self.left_out[cause] += int(bad.sum())
            self.rows = [row for row, out in zip(self.rows, bad, strict=True) if not out]
            self.places = self.places[~bad]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        counts = {"left_out": dict(self.left_out), "notes": dict(self.notes)}
        return {"file": self.path, "language": self.language, "questions": len(self.rows), **counts}

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.rows)} questions, {self.language}"]
        lines += [f"  left out {count} x {cause}" for cause, count in self.left_out.items()]
        return "\n".join([*lines, *(f"  kept {count} x {cause}" for cause, count in self.notes.items())])


class Questions(Dataset):
    """Rows for `VQACollator`, from files of questions and the regions of their images.

    Args:
        files: the questions.
        regions: what `read_regions` gave.
        targets: answer number -> score of every question; without it there are no `answers`.
    """

    def __init__(self, files: Sequence[QuestionFile], regions: Any, targets: Sequence[dict[int, float]] | None = None):
        self.rows = [row for file in files for row in file.rows]
        self.places = np.concatenate([file.places for file in files])
        labels = [name for name in ("class_probs", "background_index") if name in regions.column_names]
        self.regions = regions.remove_columns(labels)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, object]:
        """Return a question, with the regions of its image."""
        place = int(self.places[index])
        regions = self.regions[place] if place >= 0 else NO_REGIONS | {"image_id": self.rows[index]["image"]}
        row = {"text": self.rows[index]["question"], "regions": regions}
        return row if self.targets is None else row | {"answers": self.targets[index]}


def load_training(
    args: QuestionArguments, tokenizer: "PreTrainedTokenizerBase", max_text_length: int, test: Sequence[QuestionFile]
) -> tuple[list[QuestionFile], Any]:
    """Return the files to train on and their regions.

    Questions without answers, without regions, or about an image of the test are left out and counted.

    Raises:
        TooManyBadRowsError: more of a file than allowed cannot be used, or nothing can.
        The rest: as `load_files`.
    """
    files, regions = load_files(
        args, args.questions, args.annotations, args.languages, args.regions, "train", tokenizer, max_text_length
    )
    evaluated = {row["image_id"] for file in test for row in file.rows}
    for file in files:
        file.leave_out("image of the test", np.array([row["image_id"] in evaluated for row in file.rows], bool))
        read = len(file.rows)
        file.leave_out("without annotation", np.array([not row["answers"] for row in file.rows], bool))
        file.leave_out("image without regions", file.places < 0)
        bad = file.report.counts.total() + read - len(file.rows)
        if not file.rows or bad > args.max_bad_fraction * (bad + len(file.rows)):
            raise TooManyBadRowsError(
                f"More than {args.max_bad_fraction:.0%} of the questions (or all) cannot be trained on. Give their "
                f"annotations, the regions of their images, and image_pattern as these are named.\n{file}"
            )
    return files, regions


def load_test(
    args: QuestionArguments, tokenizer: "PreTrainedTokenizerBase", max_text_length: int
) -> tuple[list[QuestionFile], Any]:
    """Return the files to evaluate on and their regions; questions stay without regions and without annotation.

    Raises:
        TooManyBadRowsError: more images than allowed have no regions.
        ValueError: two files have one name, as their files of answers would have.
        The rest: as `load_files`.
    """
    if not args.test_questions:
        return [], None
    names = Counter(Path(path).name for path in args.test_questions)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"Two files of test questions are named {twice[0]}, as their answers would be; rename one.")
    files, regions = load_files(
        args,
        args.test_questions,
        args.test_annotations,
        args.test_languages,
        args.test_regions,
        "validation",
        tokenizer,
        max_text_length,
    )
    for file in files:
        missing = int((file.places < 0).sum())
        if missing:
            file.notes["image without regions, answered without looking"] = missing
        if not file.rows or missing > args.max_bad_fraction * len(file.rows):
            raise TooManyBadRowsError(
                f"More than {args.max_bad_fraction:.0%} of the questions (or all) are about images without regions; "
                f"give test_regions, and image_pattern as the images are named there.\n{file}"
            )
    return files, regions


def load_files(
    args: QuestionArguments,
    questions: Sequence[str],
    annotations: Sequence[str],
    languages: Sequence[str],
    folders: Sequence[str],
    split: str,
    tokenizer: "PreTrainedTokenizerBase",
    max_text_length: int,
) -> tuple[list[QuestionFile], Any]:
    """Return files of questions, and the regions of their images.

    Raises:
        ValueError: lists of different lengths, or two images of a file that fit the same regions.
        FileNotFoundError, RegionShardError: as `read_regions` and `read_vqa`.
    """
    problems = []
    if annotations and len(annotations) != len(questions):
        problems.append(f"{len(annotations)} annotations for {len(questions)} files of questions")
    if len(languages) not in (1, len(questions)):
        problems.append(f"{len(languages)} languages for {len(questions)} files of questions")
    if problems:
        raise ValueError(f"The questions cannot be used: {'; '.join(problems)}.")
    languages = list(languages) * (len(questions) if len(languages) == 1 else 1)
    regions = read_regions(list(folders))
    places = {name: place for place, name in enumerate(regions.with_format(None)["image_id"])}
    files = []
    for number, (path, language) in enumerate(zip(questions, languages, strict=True)):
        answered = annotations[number] if annotations else find_annotations(path)
        data = read_questions(args, path, answered, language, split)
        finder = RegionFinder(places, path)
        found = np.array([finder.find(row["image"]) for row in data.rows], np.int64)
        file = QuestionFile(str(path), language, data.rows, found, Counter(data.report.counts), Counter(), data.report)
        if cut := count_longer([row["question"] for row in data.rows], tokenizer, max_text_length):
            file.notes[f"more than {max_text_length} word pieces, cut"] = cut
        files.append(file)
    return files, regions


def read_questions(
    args: QuestionArguments, path: str, annotations: str | None, language: str, split: Literal["train", "validation"]
) -> VQAData:
    """Return the questions of a file of VQA 2.0's form, or of one split of VQA VG Japanese, which is a JSON list.

    Raises:
        ValueError: the file is VQA VG Japanese, and said to be in another language; and as the readers.
    """
    if not holds_list(Path(path)):
        return read_vqa(
            path,
            annotations,
            language=language,
            image_pattern=args.image_pattern,
            max_bad_fraction=args.max_bad_fraction,
        )
    if language != "ja":
        raise ValueError(f"{path} has the form of VQA VG Japanese; its language is ja, not {language}.")
    rule = {"image_data": args.image_data} if args.image_data else {"split_by": "id"}
    return read_vqa_vg_japanese(path, split, max_bad_fraction=args.max_bad_fraction, **rule)


def find_annotations(questions: str | Path) -> str | None:
    """Return the file beside one of questions that has the official name of its answers, None if there is none.

    `v2_OpenEnded_mscoco_train2014_questions.json` goes with `v2_mscoco_train2014_annotations.json`.
    """
    path = Path(questions)
    other = path.with_name(path.name.replace("OpenEnded_", "").replace("questions", "annotations"))
    return str(other) if other != path and other.is_file() else None


def count_longer(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", limit: int) -> int:
    """Return how many texts have more word pieces than the limit."""
    pieces = (texts[start : start + PIECE] for start in range(0, len(texts), PIECE))
    encoded = (tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"] for piece in pieces)
    return sum(len(ids) > limit for batch in encoded for ids in batch)


def choose_answers(args: QuestionArguments, files: Sequence[QuestionFile]) -> list[str]:
    """Return the pool: the given lists one after the other, or the most common answers of each language in training.

    Raises:
        ValueError: a list is empty, or no answer is common enough.
    """
    if args.answers:
        lists = [read_answers(path) for path in args.answers]
    else:
        rule = {"min_questions": args.min_answer_questions} if args.max_answers is None else {"size": args.max_answers}
        languages = dict.fromkeys(file.language for file in files)
        lists = [
            build_answers(
                [row for file in files if file.language == language for row in file.rows],
                prepare=partial(prepare_for, language, nfkc=args.nfkc_answers),
                **rule,
            )
            for language in languages
        ]
    return list(dict.fromkeys(answer for one in lists for answer in one))


def make_targets(files: Sequence[QuestionFile], pool: Sequence[str], *, nfkc: bool) -> list[dict[int, float]]:
    """Return answer number -> score of every question; count those of which no answer is in the pool.

    Raises:
        ValueError: it is none of a file of questions.
    """
    ids, targets = {answer: number for number, answer in enumerate(pool)}, []
    for file in files:
        prepared = ([prepare_for(file.language, answer, nfkc=nfkc) for answer in row["answers"]] for row in file.rows)
        made = [soft_targets(answers, ids) for answers in prepared]
        if outside := sum(not any(target.values()) for target in made):
            file.notes["no answer in the pool"] = outside
            if outside == len(made):
                raise ValueError(
                    f"None of the {len(pool)} answers is an answer to a question of {file.path}: give a list "
                    "of answers in its language, made from it or from data like it."
                )
        targets += made
    return targets


__all__ = [
    "QuestionArguments",
    "QuestionFile",
    "Questions",
    "choose_answers",
    "load_test",
    "load_training",
    "make_targets",
]
