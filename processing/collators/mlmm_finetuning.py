"""Rows of retrieval and of visual question answering to batches for MLMM's fine-tuning."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...data.mlmm.corpus import MLMMCorpus
from ...data.rows.types import QuestionExample, RetrievalExample
from ..region_inputs import ImageRegions, pad_regions
from .region_batch import RegionCollator

# Of ten annotators so many agree -> score of their answer. Source: VQA 2.0, leave one out.
ANSWER_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)


class MLMMRetrievalExamples:
    """A dataset of rows for `MLMMRetrievalCollator`: a caption, its image, wrong images and wrong captions.

    A row is {"text", "regions", "wrong_regions": [...], "wrong_texts": [...]}. Wrong captions are of the same language
    and of another image. What is drawn follows from (seed, epoch, index).

    Args:
        corpus: the captions, of all its languages.
        num_wrong: wrong images, and wrong captions, of each caption.
        even_languages: captions of the languages that have fewer come several times an epoch, so that all languages
            have as many.
        seed: of the draws.
    """

    def __init__(self, corpus: MLMMCorpus, *, num_wrong: int = 1, even_languages: bool = False, seed: int = 0) -> None:
        if num_wrong < 1:
            raise ValueError(f"num_wrong is {num_wrong}; a group needs a wrong pair.")
        self.corpus, self.num_wrong, self.seed = corpus, num_wrong, seed
        most = max(map(len, corpus.captions.values()))
        self._index = [
            (language, at % len(table))
            for language, table in corpus.captions.items()
            for at in range(most if even_languages else len(table))
        ]
        for language, table in corpus.captions.items():
            if len(np.unique(corpus.image_groups[table.images])) < 2:
                raise ValueError(f"{corpus.name}, {language}: captions of one image only; none can be wrong.")
        # In shared memory: workers that outlive an epoch hold a copy of this object and must see the new number.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._index)

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> RetrievalExample:
        """Return the group of a caption."""
        language, caption = self._index[index]
        table, groups = self.corpus.captions[language], self.corpus.image_groups
        rng = random.Random(f"{self.seed}-{self._epoch.item()}-{index}")
        image = int(table.images[caption])

        def draw(candidates: np.ndarray) -> int:
            """Return a place among images, of one of another group."""
            while groups[candidates[place := rng.randrange(len(candidates))]] == groups[image]:
                pass
            return place

        images = [image] + [self.corpus.images[draw(self.corpus.images)] for _ in range(self.num_wrong)]
        right, *wrong = self.corpus.read_images(images)
        texts = [table.text(draw(table.images)) for _ in range(self.num_wrong)]
        return {"text": table.text(caption), "regions": right, "wrong_regions": wrong, "wrong_texts": texts}


@dataclass
class MLMMRetrievalCollator(RegionCollator):
    """Collate groups into the keyword arguments of `MLMMForImageTextRetrieval`, each group's matching pair first.

    An image that cannot be used is counted in `bad_rows` and logged once a cause; its pair is left out, and the
    whole group if it is the caption's own image, or if no wrong image is left.

    Args:
        processor: makes the tensors.
    """

    def __call__(self, rows: Sequence[RetrievalExample]) -> dict[str, Tensor]:
        """Return the pairs of all groups: the matching one, wrong images for its text, wrong texts for its image.

        Returns:
            What the processor gives, and labels (b,): 1 = they match, which opens a group.

        Raises:
            ValueError: no group can be used.
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
            raise ValueError(f"None of the {len(rows)} groups can be used; so far: {dict(self.bad_rows.counts)}.")
        encoded = self.processor(text=texts)
        return {**encoded, **pad_regions(images), "labels": torch.tensor(labels, dtype=torch.int64)}


@dataclass
class MLMMQuestionCollator(RegionCollator):
    """Collate questions into the keyword arguments of `MLMMForVisualQuestionAnswering`.

    A row is {"text", "regions", "answers": {answer id: score}}; without `answers` there are no labels.

    Args:
        processor: makes the tensors.
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


__all__ = ["MLMMQuestionCollator", "MLMMRetrievalCollator", "MLMMRetrievalExamples", "soft_targets"]
