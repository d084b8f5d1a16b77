"""Inputs of embedding: a folder of images, one image, a text file with a sentence a line, or the captions of pairs.

Files are known by their content where their name does not say it.
"""

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from ..data.files.bounded import check_regular
from ..data.files.hashing import hash_bytes
from ..data.files.image_ids import name_as_text
from ..data.files.image_listing import image_suffixes, list_images, looks_like_image
from ..data.pairs.readers import READERS, read_rows
from ..data.rows.report import BadRowError
from ..data.rows.text import clean_caption, is_blank
from ..processing.image_decoding import ImageDecodingError, decode_image

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UNREADABLE = {  # how files begin that hold neither images nor sentences
    b"\x1f\x8b": "is compressed with gzip; unpack it first",
    b"BZh": "is compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "is compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first",
    b"PK\x03\x04": "is a zip archive or an Office file; unpack it, or save its texts as .txt",
    b"%PDF": "is a PDF; save its texts as .txt",
    b"PAR1": "is a Parquet file; name it .parquet",
}
TEXT_COLUMN = "text"

Item = tuple[str, str | Path | BadRowError]  # the id or place, and the sentence, the path or why there is neither


@dataclass(frozen=True)
class EmbedInputs:
    """The images or sentences of a source, in pieces that are read one at a time.

    Attributes:
        source: a folder or a file.
        images: id and path of each, None for sentences.
    """

    source: Path
    images: Sequence[Item] | None = None

    @classmethod
    def open(cls, source: Path) -> "EmbedInputs":
        """Return the inputs of a source.

        Raises:
            FileNotFoundError: no such source.
            ValueError: it is neither a folder nor a file of images or sentences.
        """
        if not source.exists():
            raise FileNotFoundError(f"There is no {source}: give a folder of images, an image or a text file.")
        if source.is_dir():
            return cls(source, list_images(source))
        check_regular(source)
        suffix = source.suffix.lower()
        if suffix in image_suffixes() or looks_like_image(str(source)):
            return cls(source, [(name_as_text(source.name), source)])
        with source.open("rb") as file:
            head = file.read(4096)
        for magic, advice in UNREADABLE.items():
            if head.startswith(magic) and not (magic == b"PAR1" and suffix in READERS):
                raise ValueError(f"{source} {advice}.")
        if suffix not in READERS and not head.startswith(UTF_16) and b"\0" in head:
            raise ValueError(f"{source} holds neither an image nor text; give a text file with one sentence a line.")
        if suffix not in READERS and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b'{"', b'[{"')):
            raise ValueError(f"{source} holds JSON; name it .jsonl if each line is an object with {TEXT_COLUMN!r}.")
        return cls(source)

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
        return self._captions() if self.source.suffix.lower() in READERS else self._sentences()

    def _captions(self) -> Iterator[Item]:
        for number, fields in read_rows(self.source, (TEXT_COLUMN, TEXT_COLUMN), self.source.parent):
            place = f"row {number}"
            if isinstance(fields, BadRowError):
                yield place, fields
                continue
            text = fields.get(TEXT_COLUMN)
            for caption in text if isinstance(text, list) else [text]:
                try:
                    yield place, clean_caption(caption)
                except BadRowError as error:
                    yield place, error

    def _sentences(self) -> Iterator[Item]:
        with self.source.open("rb") as file:
            is_utf_16 = file.read(2) in UTF_16
        encoding, errors = ("utf-16", "replace") if is_utf_16 else ("utf-8-sig", "surrogateescape")
        with self.source.open(encoding=encoding, errors=errors, newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                sentence = line.strip()
                if not sentence:
                    continue  # between paragraphs
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


def load(item: str | Path | BadRowError) -> str | Image.Image:
    """Return a sentence, or the decoded image of a path.

    Raises:
        BadRowError: there is none.
    """
    if isinstance(item, BadRowError):
        raise item
    try:
        return item if isinstance(item, str) else decode_image(item)
    except ImageDecodingError as error:
        raise BadRowError.of_image(error) from error


def _check_sentence(sentence: str) -> str | BadRowError:
    if not sentence.isprintable() and any("\ud800" <= character <= "\udfff" for character in sentence):
        return BadRowError("invalid UTF-8", ascii(sentence[:80]))
    return BadRowError("empty text", ascii(sentence[:80])) if is_blank(sentence) else sentence


__all__ = ["EmbedInputs", "Item", "identify", "load"]
