"""Rows of retrieval and of visual question answering to batches for MLMM's fine-tuning."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.rows.report import EmptyBatchError
from ...data.rows.types import QuestionExample, RetrievalExample
from ..region_inputs import ImageRegions, pad_regions
from .region_batch import RegionCollator

# Of ten annotators so many agree -> score of their answer. Source: VQA 2.0, leave one out.
ANSWER_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)


@dataclass
class MLMMRetrievalCollator(RegionCollator):
    """Collate groups into the keyword arguments of `MLMMForImageTextRetrieval`, each group's matching pair first.

    An image that cannot be used is counted in `bad_rows` and logged once a cause; its pair is left out, and the
    whole group if it is the caption's own image, or if no wrong image is left.
    """

    def __call__(self, rows: Sequence[RetrievalExample]) -> dict[str, Tensor]:
        """Return the pairs of all groups: the matching one, wrong images for its text, wrong texts for its image.

        Returns:
            What the processor gives, and labels (b,): 1 = they match, which opens a group.

        Raises:
            EmptyBatchError: no group can be used.
        """
        texts: list[str] = []
        images: list[ImageRegions] = []
        labels: list[int] = []
        for row in rows:
            right, *read = [self.read_image(regions) for regions in (row["regions"], *row["wrong_regions"])]
            wrong = [image for image in read if image is not None]
            if right is None or not wrong:
                continue
            texts += [row["text"]] * (1 + len(wrong)) + list(row["wrong_texts"])
            images += [right, *wrong] + [right] * len(row["wrong_texts"])
            labels += [1] + [0] * (len(wrong) + len(row["wrong_texts"]))
        if not labels:
            raise EmptyBatchError(f"None of the {len(rows)} groups can be used; so far: {dict(self.bad_rows.counts)}.")
        encoded = self.processor(text=texts)
        return {**encoded, **pad_regions(images), "labels": torch.tensor(labels, dtype=torch.int64)}


@dataclass
class MLMMQuestionCollator(RegionCollator):
    """Collate questions into the keyword arguments of `MLMMForVisualQuestionAnswering`.

    A row is {"text", "regions", "answers": {answer id: score}}; without `answers` there are no labels.

    Args:
        num_answers: of the answer vocabulary.
    """

    num_answers: int

    def __call__(self, rows: Sequence[QuestionExample]) -> dict[str, Tensor]:
        """Return what the processor gives, and labels (B, a) float32, the score of every answer; rows may be all 0.

        Raises:
            ValueError: no row can be used, or an answer is not in the vocabulary.
        """
        rows, images = self.read_images(rows)
        batch = {**self.processor(text=[row["text"] for row in rows]), **pad_regions(images)}
        if "answers" not in rows[0]:
            return batch
        labels = torch.zeros(len(rows), self.num_answers)
        for at, row in enumerate(rows):
            for answer, score in row["answers"].items():
                if not 0 <= answer < self.num_answers:
                    raise ValueError(f"Answer {answer} of {row['text']!r} is not among the {self.num_answers} answers.")
                labels[at, answer] = score
        return batch | {"labels": labels}


def soft_targets(answers: Sequence[str], answer_ids: Mapping[str, int]) -> dict[int, float]:
    """Return answer id -> score for the answers of the annotators of a question.

    Of ten annotators n agree: 0, 0.3, 0.6, 0.9, then 1, the official accuracy. A single answer counts as ten. Answers
    outside the vocabulary are left out, so that there may be none. Source: UNITER.

    Args:
        answers: normalised, one an annotator.
        answer_ids: the answer vocabulary.
    """
    counts = Counter(answers) if len(answers) > 1 else Counter(dict.fromkeys(answers, 10))
    best = len(ANSWER_SCORES) - 1
    return {answer_ids[a]: ANSWER_SCORES[min(n, best)] for a, n in counts.items() if a in answer_ids}


__all__ = ["MLMMQuestionCollator", "MLMMRetrievalCollator", "soft_targets"]
