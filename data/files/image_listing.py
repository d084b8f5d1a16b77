"""Listings of images: a folder, a text file of paths, JSON lines, or a COCO json file."""

import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .bounded import read_bounded_text
from .image_ids import find_file, name_as_text
from .json_files import MAX_BYTES, read_json

logger = logging.getLogger(__name__)

PATH_KEYS = ("image", "file_name", "path")
ID_KEYS = ("image_id", "id")
# Formats that Pillow knows by name only, or would hand to another program.
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"\0\0\0\x0cjP  ")
SIGNATURES_INSIDE = (b"WEBPVP8", b"ftypavif")  # from bytes 8 and 4 on
EXAMPLES = 5  # kinds of files that a message names
MAX_PATH = 4096  # characters, as of Linux


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the formats that are decoded, in lower case with the dot.

    They are those that Pillow, with its plugins, has registered: .heic is one where `pillow_heif` was.
    """
    from PIL import Image

    Image.init()
    formats = (Image.OPEN.keys() | {"MPO"}) - NOT_DECODED
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def list_images(
    source: str | Path, *, image_root: str | Path | None = None, ignored: Counter[str] | None = None
) -> list[tuple[str, Path]]:
    """Return the images as (id, path), sorted by id, each once. Nothing is decoded; a missing image is in the list.

    In a folder, an image is what has a suffix of `image_suffixes`, whatever it is, and what begins as a JPEG, PNG, GIF,
    WebP, AVIF or JPEG 2000 file does. Linked folders are entered, each folder once. Hidden files and folders (their
    names begin with a dot) are not looked at. Whatever is not taken is counted in a warning.

    Args:
        source: a folder, searched recursively for images (ids are paths below it); a text file with a path a line
            (ids are the lines); a .jsonl file of objects with `image`, `file_name` or `path`, and perhaps `image_id` or
            `id`, else the path is the id; or a .json file in COCO's form, {"images": [{"id", "file_name"}]}. In an id,
            bytes that are not UTF-8 are written as in `name_as_text`.
        image_root: the folder that paths in a file are relative to; by default the file's own. Names are found in
            NFC or NFD.
        ignored: gets the number of files and folders that are not looked at, by kind.

    Raises:
        FileNotFoundError: no such source.
        ValueError: it lists no image, a line cannot be read, or two different images have the same id.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}: give a folder of images or a file that lists them.")
    not_taken, images = "", list[tuple[str, Path]]()
    if source.is_dir():
        walk = _Walk(source)
        images += walk.images()
        not_taken = walk.describe_ignored()
        if ignored is not None:
            ignored.update(walk.ignored)
        if not_taken and images:
            logger.warning("%s: %s", source, not_taken)
    else:
        read = {".jsonl": _read_json_lines, ".json": _read_coco}.get(source.suffix.lower(), _read_lines)
        root = Path(image_root) if image_root is not None else source.parent
        for name, below in read(source):
            if len(below) > MAX_PATH:
                raise ValueError(f"{source} has a path of {len(below):,} characters; write one path a line.")
            images.append((name, Path(find_file(os.path.join(root, below)))))
    unique: dict[str, Path] = {}
    for name, path in images:
        name = name_as_text(name)
        if unique.setdefault(name, path) != path:
            raise ValueError(f"{source}: two images have the id {name!r}: {unique[name]} and {path}.")
    if not unique:
        known = f".jpg, .png and {len(image_suffixes()) - 2} more suffixes are images"
        raise ValueError(f"{source} lists no image; {known}. {not_taken}".strip())
    if len(unique) < len(images):
        logger.warning("%s: %d repeated entries count once.", source, len(images) - len(unique))
    return sorted(unique.items())


def walk_images(folder: Path) -> Iterator[Path]:
    """Yield the images that `list_images` finds in a folder, in no order."""
    return (path for _, path in _Walk(folder).images())


class _Walk:
    """The images of a folder and of what is linked into it, and what else there is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ignored: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def images(self) -> Iterator[tuple[str, Path]]:
        """Yield the path below the folder and the path of each image."""
        for path in self._files():
            name = os.path.basename(path)
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                self._ignore("hidden", path)
            elif suffix in image_suffixes() or looks_like_image(path):
                yield Path(path).relative_to(self.folder).as_posix(), Path(path)
            else:
                self._ignore(suffix or "without suffix", path)

    def describe_ignored(self) -> str:
        """Return what is not taken in a sentence, an empty one if all is."""
        if not self.ignored:
            return ""
        kinds = [f"{count} {kind}" for kind, count in self.ignored.most_common(EXAMPLES)]
        more = len(self.ignored) - len(kinds)
        first = self.first[next(iter(self.ignored.most_common(1)))[0]]
        return (
            f"{self.ignored.total()} files or folders are not looked at: {', '.join(kinds)}"
            f"{f' and {more} more kinds' if more else ''}. First: {first!r}."
        )

    def _files(self) -> Iterator[str]:
        seen: set[tuple[int, int]] = set()
        starts = [str(self.folder)]
        for start in starts:  # it grows: links come after the folders proper, whose paths are the names of their files
            for where, folders, files in os.walk(start, onerror=self._ignore_unreadable):
                status = os.stat(where)
                if (status.st_dev, status.st_ino) in seen:
                    self._ignore("folder listed before", where)
                    folders.clear()
                    continue
                seen.add((status.st_dev, status.st_ino))
                for name in sorted(folders):
                    path = os.path.join(where, name)
                    if name.startswith("."):
                        folders.remove(name)
                        self._ignore("hidden", path)
                    elif os.path.islink(path):
                        starts.append(path)
                yield from (os.path.join(where, name) for name in files)

    def _ignore_unreadable(self, error: OSError) -> None:
        self._ignore("unreadable folder", str(error.filename))

    def _ignore(self, kind: str, path: str) -> None:
        kind = kind if kind.isprintable() and len(kind) <= 20 else "of another suffix"
        self.ignored[kind] += 1
        self.first.setdefault(kind, os.path.relpath(path, self.folder)[:100])


def looks_like_image(path: str) -> bool:
    """Return whether a file begins as a JPEG, PNG, GIF, WebP, AVIF or JPEG 2000 image does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head.startswith(SIGNATURES) or head[8:15] in SIGNATURES_INSIDE or head[4:12] in SIGNATURES_INSIDE


def _read_lines(file: Path) -> Iterator[tuple[str, str]]:
    for line in read_bounded_text(file, max_bytes=MAX_BYTES).split("\n"):
        if line.strip():
            is_there = len(line) <= MAX_PATH and os.path.lexists(file.parent / line)
            name = line if is_there else line.strip()  # a name may begin or end in spaces
            yield name, name


def _read_json_lines(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_bounded_text(file, max_bytes=MAX_BYTES).split("\n"), start=1):
        if line.strip():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{file}, line {number}: {error}; write one JSON object a line.") from error
            yield _name_and_path(entry, f"{file}, line {number}")


def _read_coco(file: Path) -> Iterator[tuple[str, str]]:
    content = read_json(file)
    entries = content.get("images") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError(f"{file} has no list `images`; give a file in COCO's form, or JSON lines.")
    for number, entry in enumerate(entries, start=1):
        yield _name_and_path(entry, f"{file}, image {number}")


def _name_and_path(entry: object, place: str) -> tuple[str, str]:
    fields = entry if isinstance(entry, dict) else {}
    path = next((fields[key] for key in PATH_KEYS if isinstance(fields.get(key), str)), None)
    if path is None:
        raise ValueError(f"{place} has none of {', '.join(PATH_KEYS)} with a path.")
    name = next((fields[key] for key in ID_KEYS if isinstance(fields.get(key), str | int)), path)
    return str(name), path


__all__ = ["image_suffixes", "list_images", "looks_like_image", "walk_images"]
