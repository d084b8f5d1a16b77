"""The captions of a file of pairs in pieces of equal size, the same in every pass, without the images.

*piece*: so many good rows in their order; its digest is of their images' names and captions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from ..files.hashing import hash_bytes, hash_json
from ..pairs.readers import find_pair_files, read_files
from ..rows.report import BadRowError, BadRowReport
from ..rows.scripts import check_language, is_in_wrong_script
from ..rows.text import check_unicode, clean_caption, clean_each

HARD_NEGATIVES = "hard_negatives.jsonl"  # beside captions: {"image", "hard_negatives": [images they are not true of]}


@dataclass(frozen=True)
class CaptionedImage:
    """The captions of an image; `has_list` says whether the source holds a list of them or one string."""

    image: str
    captions: tuple[str, ...]
    has_list: bool


@dataclass
class CaptionSource:
    """The good rows of a file; the rest is counted in the first pass, which is made at once.

    Attributes:
        source: as for `read_pairs`; images are not opened and need not exist.
        language: of the captions; a row in another script is a bad one.
        columns: the names of the image and the text column. The image is a path or another name of the image.
        piece_size: rows a piece.
        image_root: where a list without names, as CC3M's, finds its images; by default the folder of the file.
        max_bad_fraction: a greater fraction of bad rows is an error.
        encoding: of a text file, as for `read_pairs`.
        digests: of each piece.
        num_captions: in all pieces.
        report: of the rows that were left out.

    Raises:
        FileNotFoundError: no such file.
        TooManyBadRowsError: too many rows are bad, or there is no good one.
        ValueError: the file lacks a column, the language is unknown, or the piece size is no positive number.
    """

    source: Path
    language: str
    piece_size: int
    columns: tuple[str, str] = ("image", "text")
    image_root: Path | None = None
    max_bad_fraction: float = 0.1
    encoding: str | None = None
    digests: list[str] = field(default_factory=list, init=False)
    num_captions: int = field(default=0, init=False)
    report: BadRowReport = field(init=False)

    def __post_init__(self) -> None:
        check_language(self.language)
        if self.piece_size < 1:
            raise ValueError(f"A piece, and so a shard, has {self.piece_size} rows; it must have 1 or more.")
        self.files = find_pair_files(Path(self.source))
        self.root = Path(self.image_root if self.image_root is not None else self.files[0].parent)
        self.report = BadRowReport(source=Path(self.source))
        for piece in self._pieces(self.report):
            self.digests.append(digest(piece))
            self.num_captions += sum(len(row.captions) for row in piece)
        self.report.raise_above(self.max_bad_fraction)

    @property
    def sha256(self) -> str:
        """16 hexadecimal digits that identify all rows."""
        return hash_bytes("".join(self.digests).encode())

    def __iter__(self) -> Iterator[list[CaptionedImage]]:
        """Yield the pieces in order; reads the file once more."""
        return self._pieces(BadRowReport(source=self.source))

    def _pieces(self, report: BadRowReport) -> Iterator[list[CaptionedImage]]:
        listed = read_files(self.files, self.columns, self.root, encoding=self.encoding)
        rows = report.check_rows(listed, partial(self._check, report))
        while piece := list(islice(rows, self.piece_size)):
            yield piece

    def _check(self, report: BadRowReport, place: int | str, fields: dict) -> CaptionedImage:
        image, text = (fields.get(column) for column in self.columns)
        if image is None or text is None:
            raise BadRowError("missing field", f"{self.columns} are not both among {list(fields)}")
        if isinstance(image, dict):
            image = image.get("path")
        if not isinstance(image, str) or not image:
            raise BadRowError("image has no name", f"the image is {type(image).__name__}")
        check_unicode(image)
        captions, errors = clean_each(text if isinstance(text, list) else [text], self._clean)
        for error in errors:
            report.add_repair("caption dropped", place, str(error))
        return CaptionedImage(image, tuple(captions), isinstance(text, list))

    def _clean(self, caption: object) -> str:
        cleaned = clean_caption(caption)
        if is_in_wrong_script(cleaned, self.language, strict=False):
            raise BadRowError("another script", f"{cleaned[:80]!r} is not in the script of {self.language!r}")
        return cleaned


def digest(piece: Sequence[CaptionedImage]) -> str:
    """Return 16 hexadecimal digits that identify the rows of a piece."""
    return hash_json([[row.image, row.captions, row.has_list] for row in piece])


__all__ = ["HARD_NEGATIVES", "CaptionSource", "CaptionedImage", "digest"]
