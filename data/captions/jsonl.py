"""Captions that are listed a row an image: JSON lines of our own form, folders of such lists, and CC3M and CC12M."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..files.image_ids import canonical_image_id
from ..pairs.readers import read_rows
from ..rows.report import BadRowError, BadRowReport
from .rows import Record

CAPTION_FILE = "captions_{}.jsonl"
TEXT_COLUMN = "caption"


@dataclass
class CaptionLines:
    """The rows of JSON lines {"image_id", "image", "split", "captions": {language: caption or list}}.

    Attributes:
        source: the file. Without `image` the id is the path; `split` is "train" where it is missing. Ids such as
            "coco:42", or names such as COCO_train2014_000000000042.jpg, are those of COCO's images; 42 alone is not.
    """

    source: Path

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the rows.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no .jsonl.
        """
        _check_file(self.source, ".jsonl")
        for number, fields in read_rows(self.source, ("image", TEXT_COLUMN), self.source.parent):
            yield number, fields if isinstance(fields, BadRowError) else _from_line(fields)


def _from_line(fields: dict) -> dict | BadRowError:
    captions = fields.get("captions")
    if not isinstance(captions, dict):
        return BadRowError("missing field", f"no captions {{language: [...]}} among {list(fields)}")
    name = fields.get("image_id", fields.get("image"))
    if not isinstance(name, str | int) or not str(name):
        return BadRowError("image has no name", f"image_id and image are {name!r}")
    lists = {language: texts if isinstance(texts, list) else [texts] for language, texts in captions.items()}
    image_id = name if isinstance(name, str) and ":" in name else canonical_image_id(name)
    image, split = fields.get("image", str(name)), fields.get("split", "train")
    return {"image_id": image_id, "image": image, "split": split, "captions": lists}


@dataclass
class CaptionFolder:
    """The rows of a folder that `write_captions` wrote, or of one of its splits: an image with all its languages.

    Attributes:
        source: holds captions_LANGUAGE.jsonl, or folders of such files, named by their splits.
    """

    source: Path

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the images, split by split.

        Raises:
            FileNotFoundError: there is no such file.
        """
        here = list(self.source.glob(CAPTION_FILE.format("*")))
        folders = [self.source] if here else sorted({file.parent for file in self.source.glob("*/captions_*.jsonl")})
        if not folders:
            raise FileNotFoundError(f"{self.source} holds no captions_LANGUAGE.jsonl, and no folder that does.")
        for folder in folders:
            rows: dict[str, dict] = {}
            for file in sorted(folder.glob(CAPTION_FILE.format("*"))):
                language = file.stem.removeprefix("captions_")
                for number, fields in read_rows(file, ("image", "text"), folder):
                    if isinstance(fields, dict) and not isinstance(fields.get("image"), str):
                        fields = BadRowError("missing field", "no image")
                    if isinstance(fields, BadRowError):
                        yield f"{folder.name}/{file.name}/{number}", fields
                        continue
                    image, image_id, text = fields["image"], fields.get("image_id"), fields.get("text")
                    image_id = image_id if isinstance(image_id, str) else canonical_image_id(image)
                    row = {"image_id": image_id, "image": image, "split": folder.name, "captions": {}}
                    listed = rows.setdefault(image, row)["captions"].setdefault(language, [])
                    listed += text if isinstance(text, list) else [text]
            for image, row in rows.items():
                yield f"{folder.name}/{image}", row


@dataclass
class ConceptualCaptions:
    """The rows of CC3M (caption, URL) or CC12M (URL, caption): a TSV without a header, told apart by where the URL is.

    Attributes:
        source: the file; one with "val" in its name is the split "val", another "train".
        image_root: the folder of the images, which are named by the number of their line; by default the file's.
        image_column: the number of a column with the path of the image, in place of names by number.
        language: of the captions.
    """

    source: Path
    image_root: Path | None = None
    image_column: str | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        column = self.image_column
        if column is not None and not (column.isascii() and column.isdecimal() and int(column) > 0):
            raise ValueError(f"image_column is {column!r}; give the number of a column, from 1.")

    def __call__(self, report: BadRowReport) -> Iterator[Record]:
        """Yield the rows.

        Raises:
            FileNotFoundError: no such file, or no image is named by a number.
            ValueError: the file is no TSV, or images are counted from 0.
        """
        _check_file(self.source, ".tsv")
        column = self.image_column or "image"
        split = "val" if "val" in self.source.stem.lower() else "train"
        for number, fields in read_rows(self.source, (column, TEXT_COLUMN), self.image_root or self.source.parent):
            if isinstance(fields, BadRowError):
                yield number, fields
                continue
            image = fields[column]
            captions = {self.language: [fields[TEXT_COLUMN]]}
            yield number, {"image_id": canonical_image_id(image), "image": image, "split": split, "captions": captions}


def _check_file(file: Path, suffix: str) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    if file.suffix.lower() in (".gz", ".zip"):
        raise ValueError(f"{file} is packed; unpack it and give the {suffix} that comes out.")
    if file.suffix.lower() != suffix:
        raise ValueError(f"{file} is no {suffix}; give one, or name it so.")


__all__ = ["CAPTION_FILE", "CaptionFolder", "CaptionLines", "ConceptualCaptions"]
