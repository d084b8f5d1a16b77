"""Captions with their image, wrong images and wrong captions: the data set of MLMM's retrieval."""

import random

import numpy as np
import torch

from ..rows.types import RetrievalExample
from .corpus import MLMMCorpus


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


__all__ = ["MLMMRetrievalExamples"]
