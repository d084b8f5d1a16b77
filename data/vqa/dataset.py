"""Questions joined with the regions of their images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired

import numpy as np
from torch.utils.data import Dataset

from ..regions.lookup import RegionFinder
from ..rows.report import BadRowError, BadRowReport
from ..rows.types import QuestionExample, QuestionRow, RegionRow
from .load import QuestionSource
from .vqa2 import VQAData

if TYPE_CHECKING:
    import datasets


class RegionQuestion(QuestionRow):
    """A question, the row of its image's regions (-1 = none), and for training the score of each answer's number."""

    region_row: int
    targets: NotRequired[dict[int, float]]


@dataclass
class QuestionFile:
    """The questions of one file that were kept.

    Attributes:
        source: the file.
        rows: its questions.
        report: how many were left out, and how many were kept though something is odd, by cause.
    """

    source: QuestionSource
    rows: list[RegionQuestion]
    report: BadRowReport

    @classmethod
    def join(cls, source: QuestionSource, data: VQAData, region_rows: dict[str, int]) -> "QuestionFile":
        """Return questions with the regions of their images; `region_rows`: `image_id` -> row of the regions.

        Raises:
            ValueError: two images fit the same regions.
        """
        finder = RegionFinder(region_rows, source.questions)
        return cls(source, [{**row, "region_row": finder.find(row["image"])} for row in data.rows], data.report)

    def leave_out(self, cause: str, is_bad: Callable[[RegionQuestion], bool]) -> None:
        """Remove and count questions."""
        kept = []
        for row in self.rows:
            if is_bad(row):
                self.report.keep_rows(-1)
                self.report.add_bad_row(BadRowError(cause, row["image"]), f"question {row['question_id']}")
            else:
                kept.append(row)
        self.rows = kept

    def note(self, cause: str, odd: Iterable[RegionQuestion]) -> int:
        """Count questions that are kept though they are odd; return how many."""
        before = self.report.repairs[cause]
        for row in odd:
            self.report.add_repair(cause, f"question {row['question_id']}", row["question"])
        return self.report.repairs[cause] - before

    def to_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        counts = {"left_out": dict(self.report.counts), "notes": dict(self.report.repairs)}
        return {"file": self.source.questions, "language": self.source.language, "questions": len(self.rows), **counts}

    def __str__(self) -> str:
        lines = [f"{self.source.questions}: {len(self.rows)} questions, {self.source.language}"]
        lines += [f"  left out {count} x {cause}" for cause, count in self.report.counts.items()]
        return "\n".join([*lines, *(f"  kept {count} x {cause}" for cause, count in self.report.repairs.items())])


class Questions(Dataset[QuestionExample]):
    """Examples for `VQACollator`, from files of questions and the regions of their images.

    Args:
        files: the questions; those that have targets have `answers` in their examples.
        regions: what `read_regions` gave, None without files.
    """

    def __init__(self, files: Sequence[QuestionFile], regions: "datasets.Dataset | None" = None) -> None:
        self.files = list(files)
        self.rows = [row for file in files for row in file.rows]
        labels = {"class_probs", "background_index"}.intersection(regions.column_names if regions else ())
        self.regions = regions.remove_columns(sorted(labels)) if regions else None

    def annotated(self) -> "Questions":
        """Return the questions of the files that have answers to evaluate by."""
        return Questions([file for file in self.files if file.rows[0]["answers"] is not None], self.regions)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> QuestionExample:
        """Return a question, with the regions of its image."""
        row = self.rows[index]
        if self.regions is None or row["region_row"] < 0:
            regions = _no_regions(row["image"])
        else:
            regions = self.regions[row["region_row"]]
        example = QuestionExample(text=row["question"], regions=regions)
        if "targets" in row:
            example["answers"] = row["targets"]
        return example


def _no_regions(image: str) -> RegionRow:
    features, boxes = np.zeros((0, 0), np.float32), np.zeros((0, 4), np.float32)
    return {"image_id": image, "image_height": None, "image_width": None, "boxes": boxes, "features": features}


__all__ = ["QuestionFile", "Questions", "RegionQuestion"]
