"""Captions with their image, wrong images and wrong captions: the data set of MLMM's retrieval."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ..rows.epoch import EpochDraws
from ..rows.types import RetrievalExample
from .corpus import MLMMCorpus


@dataclass(eq=False)
class MLMMRetrievalExamples(EpochDraws):
    """A dataset of rows for `MLMMRetrievalCollator`: a caption, its image, wrong images and wrong captions.

    A row is {"text", "regions", "wrong_regions": [...], "wrong_texts": [...]}. Wrong captions are of the same language
    and of another image. The first wrong image, and the image of the first wrong caption, is one of the corpus's hard
    negatives, where the image has any.

    Attributes:
        corpus: the captions, of all its languages.
        num_wrong: wrong images, and wrong captions, of each caption.
        even_languages: captions of the languages that have fewer come several times an epoch, so that all languages
            have as many.
        seed: of the draws.
    """

    corpus: MLMMCorpus
    _: KW_ONLY
    num_wrong: int = 1
    even_languages: bool = False

    def __post_init__(self) -> None:
        if self.num_wrong < 1:
            raise ValueError(f"num_wrong is {self.num_wrong}; a group needs a wrong pair.")
        tables = self.corpus.captions
        for language, table in tables.items():
            if len(np.unique(self.corpus.image_groups[table.images])) < 2:
                raise ValueError(f"{self.corpus.name}, {language}: captions of one image only; none can be wrong.")
        counts = {language: len(table) for language, table in tables.items()}
        most = max(counts.values()) if self.even_languages else 0
        self._index = [(language, at % n) for language, n in counts.items() for at in range(most or n)]
        usable = set(self.corpus.images.tolist())
        self._hard = {image: sorted(usable & set(rows)) for image, rows in self.corpus.hard_negatives.items()}
        named = [image for rows in self._hard.values() for image in rows]
        self._captions: dict[tuple[str, int], list[int]] = {}  # of the hard negatives
        for language, table in tables.items():
            for caption in np.flatnonzero(np.isin(table.images, named)).tolist():
                self._captions.setdefault((language, int(table.images[caption])), []).append(caption)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> RetrievalExample:
        """Return the group of a caption."""
        language, caption = self._index[index]
        table, groups = self.corpus.captions[language], self.corpus.image_groups
        rng = self.make_generator(index)
        image = int(table.images[caption])

        def draw(candidates: np.ndarray) -> int:
            """Return a place among images, of one of another group."""
            while groups[candidates[place := rng.randrange(len(candidates))]] == groups[image]:
                pass
            return place

        wrong_images = [int(self.corpus.images[draw(self.corpus.images)]) for _ in range(self.num_wrong)]
        wrong_captions = [draw(table.images) for _ in range(self.num_wrong)]
        if hard := self._hard.get(image):
            wrong_images[0] = rng.choice(hard)
            wrong_captions[0] = rng.choice(self._captions.get((language, wrong_images[0]), wrong_captions))
        right, *wrong = self.corpus.read_images([image, *wrong_images])
        texts = [table.text(caption) for caption in wrong_captions]
        return {"text": table.text(caption), "regions": right, "wrong_regions": wrong, "wrong_texts": texts}


__all__ = ["MLMMRetrievalExamples"]
