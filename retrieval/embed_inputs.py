"""Inputs of embedding: a folder of images, one image, a text file with a sentence a line, or the captions of pairs.

Files are known by their content where their name does not say it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from PIL import Image

from ..data.files.bounded import check_regular
from ..data.files.hashing import hash_bytes
from ..data.files.image_ids import name_as_text
from ..data.files.image_listing import image_suffixes, list_images, looks_like_image
from ..data.pairs.readers import READERS, kind_of, read_files
from ..data.pairs.splits import SplitFilter
from ..data.rows.report import BadRowError
from ..data.rows.text import MAX_CHARACTERS, clean_caption, is_blank
from ..data.rows.text_files import open_text
from ..processing.image_decoding import ImageDecodingError, decode_image

TEXT_COLUMN = "text"

Item = tuple[str, str | Path | BadRowError]  # the id or place, and the sentence, the path or why there is neither


@dataclass(frozen=True)
class EmbedInputs:
    """The images or sentences of a source, in pieces that are read one at a time.

    Attributes:
        source: a folder or a file.
        images: id and path of each, None for sentences.
        encoding: of a text file; see `open_text`.
        text_column, split: of a file of pairs; None: all its rows.
        not_looked_at: what a folder holds beside its images, by kind.
    """

    source: Path
    images: Sequence[Item] | None = None
    encoding: str | None = None
    text_column: str = TEXT_COLUMN
    split: str | None = None
    not_looked_at: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(
        cls, source: Path, *, encoding: str | None = None, text_column: str = TEXT_COLUMN, split: str | None = None
    ) -> "EmbedInputs":
        """Return the inputs of a source.

        Raises:
            FileNotFoundError: no such source.
            ValueError: it is no regular file, or a folder without images.
        """
        if not source.exists():
            raise FileNotFoundError(f"There is no {source}: give a folder of images, an image or a text file.")
        if source.is_dir():
            ignored = Counter[str]()
            return cls(source, list_images(source, ignored=ignored), not_looked_at=ignored)
        check_regular(source)
        if source.suffix.lower() in image_suffixes() or looks_like_image(str(source)):
            return cls(source, [(name_as_text(source.name), source)])
        return cls(source, None, encoding, text_column, split)

    @property
    def are_images(self) -> bool:
        """True for images, False for sentences."""
        return self.images is not None

    def pieces(self, size: int) -> Iterator[list[Item]]:
        """Yield so many items at a time, in their order."""
        items = iter(self._items())
        while piece := list(islice(items, size)):
            yield piece

    def _items(self) -> Iterable[Item]:
        if self.images is not None:
            return self.images
        return self._captions() if kind_of(self.source) in READERS else self._sentences()

    def _captions(self) -> Iterator[Item]:
        splits, columns = SplitFilter(self.split), (self.text_column, self.text_column)
        rows = read_files([self.source], columns, self.source.parent, encoding=self.encoding)
        for number, fields in splits.select(rows):
            place = f"row {number}"
            if isinstance(fields, BadRowError):
                yield place, fields
                continue
            text = fields.get(self.text_column)
            for caption in text if isinstance(text, list) else [text]:
                try:
                    yield place, clean_caption(caption)
                except BadRowError as error:
                    yield place, error
        splits.check(self.source)

    def _sentences(self) -> Iterator[Item]:
        with open_text(self.source, encoding=self.encoding) as lines:
            for number, line in enumerate(lines, start=1):
                sentence = line.strip()
                if not sentence:
                    continue  # between paragraphs
                if number == 1 and sentence.startswith(('{"', '[{"')):
                    raise ValueError(
                        f"{self.source} holds JSON; name it .jsonl if lines are objects with {TEXT_COLUMN!r}."
                    )
                yield f"line {number}", _check_sentence(sentence)


def identify(piece: Iterable[Item]) -> str:
    """Return the hash of a piece: of sentences their texts, of images their names, sizes and times."""
    parts: list[str] = []
    for place, item in piece:
        parts.append(f"{place}\0{item}")
        if isinstance(item, Path) and item.exists():
            status = os.stat(item)
            parts.append(f"{status.st_size}\0{status.st_mtime_ns}")
    return hash_bytes("\0\0".join(parts).encode("utf-8", "surrogatepass"))


def load(item: str | Path | BadRowError, *, as_original: bool) -> str | Image.Image:
    """Return a sentence, or the image of a path as `decode_image` reads it.

    Raises:
        BadRowError: there is none.
    """
    if isinstance(item, BadRowError):
        raise item
    try:
        return item if isinstance(item, str) else decode_image(item, as_original=as_original)
    except ImageDecodingError as error:
        raise BadRowError.of_image(error) from error


def _check_sentence(sentence: str) -> str | BadRowError:
    if not sentence.isprintable() and any("\ud800" <= character <= "\udfff" for character in sentence):
        return BadRowError("invalid UTF-8", ascii(sentence[:80]))
    if len(sentence) > MAX_CHARACTERS:
        return BadRowError("text too long", f"{len(sentence):,} characters, more than {MAX_CHARACTERS:,}")
    return BadRowError("empty text", ascii(sentence[:80])) if is_blank(sentence) else sentence


__all__ = ["EmbedInputs", "Item", "identify", "load"]
