"""A corpus of MLMM's pre-training: the regions of images, their captions by language, and the tasks they serve."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..rows.languages import check_languages
from ..rows.report import BadRowError, BadRowReport
from ..rows.text import is_blank
from ..rows.types import RegionRow

if TYPE_CHECKING:
    import datasets

TASKS = ("itm", "mlm", "mrfr", "mrc")  # as in `modeling_mlmm/pretraining.py`
STRONG_TASKS = {"itm": 9, "mlm": 12, "mrfr": 6, "mrc": 6}  # captions that describe their images
WEAK_TASKS = {"itm": 9}  # captions that only belong to them
LABEL_COLUMNS = ("class_probs", "background_index")
CHUNK = 1000  # captions or images looked at together


@dataclass(frozen=True)
class Captions:
    """The usable captions of one language.

    Attributes:
        texts: of all captions.
        rows: (m,) which of the texts are usable.
        images: (m,) whose row in the corpus's regions is the image of each.
        lengths: (m,) tokens of each, special ones included.
    """

    texts: Sequence[str]
    rows: np.ndarray
    images: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, index: int) -> str:
        """Return one of the usable captions."""
        return self.texts[int(self.rows[index])]


class MLMMCorpus:
    """Images by their regions, with captions in one or more languages.

    A caption is left out, and counted in `bad_rows`, if it is blank, longer than `max_text_length` (a cut caption would
    say half of what is there), or of an image without regions.

    Args:
        regions: random access to rows of `wenlan.data.read_regions`: a `datasets.Dataset`, or a list of rows.
        captions: language -> (images, texts): the text at i belongs to the row `images[i]` of the regions.
        tasks: task -> integer weight; by default all four, `STRONG_TASKS`. `WEAK_TASKS`: matching alone.
        max_text_length: word pieces without special tokens.
        image_groups: (images,) numbers, equal for rows that show the same: never each other's wrong images.
        hard_negatives: row -> rows of images that look alike but that its captions are not true of.

    Raises:
        ValueError: an unknown task or language, a weight below 1, images that do not exist, no usable caption, or
            matching with a single image.
    """

    def __init__(
        self,
        regions: "datasets.Dataset | Sequence[RegionRow]",
        captions: Mapping[str, tuple[Sequence[int], Sequence[str]]],
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "corpus",
        tasks: Mapping[str, int] | None = None,
        max_text_length: int = 60,
        image_groups: Sequence[int] | None = None,
        hard_negatives: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self.name = name
        self.tasks = dict(STRONG_TASKS if tasks is None else tasks)
        self._check_tasks()
        check_languages(list(captions))
        self.regions = regions
        labels = [column for column in LABEL_COLUMNS if column in getattr(regions, "column_names", ())]
        self._without_labels = regions
        if labels and hasattr(regions, "remove_columns"):
            self._without_labels = regions.remove_columns(labels)
        self.region_counts = np.fromiter(self._count_regions(), np.int32, len(regions))
        groups = np.arange(len(regions)) if image_groups is None else np.asarray(image_groups)
        if len(groups) != len(regions):
            raise ValueError(f"{name}: {len(groups)} image_groups for {len(regions)} images.")
        self.image_groups = groups
        self.hard_negatives = dict(hard_negatives or {})
        self.bad_rows = BadRowReport(name)
        self.captions = {
            language: self._choose(language, *given, tokenizer, max_text_length) for language, given in captions.items()
        }
        self.captions = {language: table for language, table in self.captions.items() if len(table)}
        if not self.captions:
            raise ValueError(f"{name} has no usable caption; left out: {dict(self.bad_rows.counts)}.")
        self.images = np.unique(np.concatenate([table.images for table in self.captions.values()]))
        if "itm" in self.tasks and len(np.unique(self.image_groups[self.images])) < 2:
            raise ValueError(f"{name} shows one image only: matching needs another one to be wrong.")

    def __len__(self) -> int:
        """Return the number of usable captions, of all languages."""
        return sum(len(table) for table in self.captions.values())

    @property
    def longest(self) -> int:
        """Greatest number of tokens and regions that an example can have."""
        text = max(int(table.lengths.max()) for table in self.captions.values())
        return text + int(self.region_counts[self.images].max())

    def read_images(self, images: Sequence[int], *, with_labels: bool = False) -> list[RegionRow]:
        """Return the region rows of images; without labels their class distributions are not decoded."""
        regions = self.regions if with_labels else self._without_labels
        rows = [int(image) for image in images]
        if hasattr(regions, "__getitems__"):
            return regions.__getitems__(rows)
        return [regions[row] for row in rows]

    def _check_tasks(self) -> None:
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ValueError(f"{self.name}: unknown tasks {unknown}; there are {', '.join(TASKS)}.")
        if not self.tasks or any(not isinstance(weight, int) or weight < 1 for weight in self.tasks.values()):
            raise ValueError(f"{self.name}: tasks must have integer weights of 1 or more, got {self.tasks}.")

    def _count_regions(self) -> Iterator[int]:
        if hasattr(self.regions, "select_columns"):
            for batch in self.regions.select_columns("boxes").iter(CHUNK):
                yield from map(len, batch["boxes"])
        else:
            yield from (len(row["boxes"]) for row in self.regions)

    def _choose(
        self,
        language: str,
        image_rows: Sequence[int],
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_text_length: int,
    ) -> Captions:
        images = np.asarray(image_rows, dtype=np.int64)
        if len(images) != len(texts):
            raise ValueError(f"{self.name}, {language}: {len(texts)} captions for {len(images)} images.")
        if len(images) and not (images.min() >= 0 and images.max() < len(self.region_counts)):
            raise ValueError(
                f"{self.name}, {language}: captions of the images {images.min()} to {images.max()}, but there "
                f"are regions of 0 to {len(self.region_counts) - 1}."
            )
        counts = [self._count_pieces(texts[at : at + CHUNK], tokenizer) for at in range(0, len(texts), CHUNK)]
        lengths = np.concatenate(counts) if counts else np.zeros(0, np.int32)
        no_regions = self.region_counts[images] == 0
        reasons = {
            "image without regions": no_regions,
            "blank": ~no_regions & (lengths == 0),
            f"more than {max_text_length} word pieces": ~no_regions & (lengths > max_text_length),
        }
        for reason, which in reasons.items():
            for place in np.flatnonzero(which).tolist():
                self.bad_rows.add_bad_row(BadRowError(reason, repr(texts[place])[:80]), f"{language} {place}")
        rows = np.flatnonzero(~np.logical_or.reduce(list(reasons.values())))
        self.bad_rows.keep_rows(len(rows))
        specials = tokenizer.num_special_tokens_to_add()
        return Captions(texts, rows.astype(np.uint32), images[rows].astype(np.uint32), lengths[rows] + specials)

    @staticmethod
    def _count_pieces(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        ids = encoded["input_ids"]
        lengths = [0 if is_blank(text) else len(one) for text, one in zip(texts, ids, strict=True)]
        return np.array(lengths, np.int32)


__all__ = ["STRONG_TASKS", "TASKS", "WEAK_TASKS", "Captions", "MLMMCorpus"]
