"""Pairs for contrastive training from shards that are too many to index: read as a stream, in a repeatable order.

*reader*: one DataLoader worker of one rank (the rank itself without workers); *pass*: what all readers together read of
one epoch, every sample exactly once.
"""

import itertools
import math
import os
import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.data import IterableDataset

from ..files.dataset_cache import dataset_cache
from ..rows.epoch import EpochDraws
from ..rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from ..rows.text import clean_caption, clean_each
from ..rows.types import PairExample, PairRow
from ..rows.validation import RowChecker
from .caption_groups import caption_group
from .dataset import NO_GROUP, one_of, stored_image
from .shards import ShardCounts, find_shards, first_fields, read_shard
from .splits import SplitFilter, split_column

if TYPE_CHECKING:
    import datasets

MIN_ROWS = 1000  # of a pass, before the fraction of bad rows stops it early


@dataclass(eq=False)
class StreamedPairs(EpochDraws, IterableDataset):
    """An iterable dataset of the rows that `TrainingPairs` gives: `image`, `text`, `group_id`, `draw_seed` (, `boxes`).

    Nothing is held in memory but a shuffle buffer. The order of shards and samples follows from (seed, epoch), and what
    is drawn for a sample from (seed, epoch, shard, key): a reader that skips what was seen before continues exactly.

    Ranks share the shards, or, if there are fewer shards than ranks, read all and keep every `world_size`-th sample.
    Workers share the shards of their rank; more workers than shards stay idle. Where shards do not divide, readers have
    unequal shares of a pass: one with less begins its next pass earlier if the stream is `endless`, and ends earlier if
    not. Which shards a reader has changes with the epoch.

    A bad row, and the rest of a damaged shard, is left out and counted in `bad_rows`, for this rank and added up over
    the passes. Boxes are handed on if the first sample has some.

    Attributes:
        source: a folder of .tar or of .parquet files, one such file, or a pattern such as "cc3m/*.tar". A sample of a
            tar file is an image with a .txt or a .json beside it (see `read_shard`).
        image_root: the folder of the images that a parquet file names by path; by default that of the shards.
        image_column: of parquet files: bytes, {"bytes", "path"}, or a path.
        text_column: of parquet files and of the .json in tar files: a string, or a list of captions of the image.
        split: only the samples of this split, where the first one names its split; None: all.
        check_image: called with the bytes or path of each image; raises ValueError for one that cannot be used. It
            costs a second decoding, and keeps batches at their size.
        max_bad_fraction: a reader stops if a greater fraction of its pass is bad.
        group_by_caption: rows with the same caption get the same `group_id`.
        seed: of the order and of all draws.
        shuffle_buffer: samples held by each reader, from up to ten shards at a time; 1 = shards are shuffled, the
            samples in them are not.
        rank, world_size: which fraction of the samples is this process's.
        endless: begin the next epoch where one ends, as training to a number of steps needs it.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: shards of several kinds, a parquet file lacks a column, or an argument is out of range.
        TooManyBadRowsError: while iterating; with the counts.
    """

    source: str | Path
    _: KW_ONLY
    image_root: str | Path | None = None
    image_column: str = "image"
    text_column: str = "text"
    split: str | None = None
    check_image: Callable[[str | bytes], object] | None = None
    max_bad_fraction: float = 0.1
    group_by_caption: bool = False
    shuffle_buffer: int = 1000
    rank: int = 0
    world_size: int = 1
    endless: bool = False

    def __post_init__(self) -> None:
        import datasets

        rank = f"rank {self.rank} of {self.world_size}"
        if not 0 <= self.rank < self.world_size or self.shuffle_buffer < 1 or self.seed < 0:
            found = f"{rank}, shuffle_buffer {self.shuffle_buffer}, seed {self.seed}"
            raise ValueError(f"{found}: ranks count from 0, a buffer holds 1 sample or more, no seed is negative.")
        self.shards = find_shards(self.source)
        self.columns = (self.image_column, self.text_column)
        first = first_fields(self.shards[0], self.columns)
        self.has_boxes = first.get("boxes") is not None
        self._splits = SplitFilter(self.split, is_named=split_column(first) is not None)
        self.bad_rows = BadRowReport(f"{self.source} ({rank})" if self.world_size > 1 else self.source, shared=True)
        self._folder = os.path.commonpath([os.path.dirname(os.path.abspath(shard)) for shard in self.shards])
        root = Path(os.path.abspath(self._folder if self.image_root is None else self.image_root))
        self._checker = RowChecker(root, self.columns, None, self.check_image, self.bad_rows)
        dataset_cache()  # it is looked for, though nothing is kept there
        self._samples = datasets.IterableDataset.from_generator(
            _read_shards, gen_kwargs={"shards": self.shards, "columns": self.columns}
        )

    def __iter__(self) -> Iterator[PairExample]:
        """Yield this reader's fraction of a pass; if `endless`, of the pass of the next epoch after it, and so on."""
        for epoch in itertools.count(int(self._epoch.item())):
            rows_read = yield from self._read_pass(epoch)
            if not self.endless or not rows_read:  # a reader without a shard would spin
                return

    def sample_texts(self, count: int) -> list[str]:
        """Return at least `count` captions, if there are as many, of the first samples of every shard.

        They are the same on every rank, as a vocabulary must be.
        """
        texts: list[str] = []
        quota = math.ceil(count / len(self.shards))
        for shard in self.shards:
            for _, fields in itertools.islice(read_shard(shard, self.columns, with_images=False), quota):
                texts += self._good_texts(fields)
            if len(texts) >= count:
                break
        return texts

    def _good_texts(self, fields: dict | BadRowError) -> Iterator[str]:
        try:
            if isinstance(fields, BadRowError) or not self._splits.takes(fields):
                return
            texts = fields.get(self.text_column)
            yield from clean_each(texts if isinstance(texts, list) else [texts], clean_caption)[0]
        except BadRowError:
            return

    def _read_pass(self, epoch: int) -> Generator[PairExample, None, int]:
        """Yield the reader's good rows of one epoch; return the number of rows read."""
        rows_read = rows_kept = 0
        shards = ShardCounts(self.max_bad_fraction, self.bad_rows)
        for row in self._shuffled_fraction(epoch):
            name = os.path.relpath(row["shard"], self._folder)
            place = f"{name}/{row['key']}" if row["key"] else name
            shards.add(name, row["fields"])
            try:
                if isinstance(row["fields"], BadRowError):
                    raise row["fields"]
                if not self._splits.takes(row["fields"]):
                    continue
                checked = self._checker.check(place, row["fields"])
            except BadRowError as error:
                rows_read += 1
                self.bad_rows.add_bad_row(error, place)
                shards.raise_above(len(self.shards))
                if rows_read >= MIN_ROWS:
                    self._stop_if_bad(rows_read, rows_kept)
                continue
            rows_read += 1
            rows_kept += 1
            self.bad_rows.keep_rows()
            yield self._draw(checked, random.Random(f"{self.seed}-{epoch}-{place}"))
        if rows_read:
            self._stop_if_bad(rows_read, rows_kept)
            shards.raise_above()
        return rows_read

    def _shuffled_fraction(self, epoch: int) -> "datasets.IterableDataset":
        """Return this rank's samples in the order of the epoch; `datasets` shares them out among the workers."""
        import numpy as np
        from datasets.distributed import split_dataset_by_node

        generator = np.random.default_rng([self.seed, epoch])
        samples = self._samples.shuffle(generator=generator, buffer_size=self.shuffle_buffer)
        if self.world_size == 1:
            return samples
        strategy = "shards" if len(self.shards) >= self.world_size else "examples"
        return split_dataset_by_node(samples, self.rank, self.world_size, strategy=strategy)

    def _draw(self, row: PairRow, rng: random.Random) -> PairExample:
        draw_seed, text = rng.getrandbits(63), one_of(row["text"], rng)
        group_id = caption_group(text) if self.group_by_caption else NO_GROUP
        example = PairExample(image=stored_image(row["image"]), text=text, group_id=group_id, draw_seed=draw_seed)
        if self.has_boxes:
            example["boxes"] = row.get("boxes") or []
        return example

    def _stop_if_bad(self, rows_read: int, rows_kept: int) -> None:
        bad = rows_read - rows_kept
        if bad / rows_read > self.max_bad_fraction or (self.endless and not rows_kept):
            found = f"{bad} of the {rows_read} rows that one reader has read"
            raise TooManyBadRowsError(f"{found} are bad; at most {self.max_bad_fraction:.0%} may be.\n{self.bad_rows}")


def _read_shards(shards: list[str], columns: tuple[str, str]) -> Iterator[dict[str, object]]:
    for shard in shards:
        for key, fields in read_shard(shard, columns):
            yield {"shard": shard, "key": key, "fields": fields}


__all__ = ["StreamedPairs"]
