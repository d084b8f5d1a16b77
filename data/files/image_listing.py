"""Listings of images: a folder, a text file of paths, JSON lines, or a COCO json file."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
PATH_KEYS = ("image", "file_name", "path")
ID_KEYS = ("image_id", "id")


def list_images(source: str | Path, *, image_root: str | Path | None = None) -> list[tuple[str, Path]]:
    """Return the images as (id, path), sorted by id, each once. Nothing is opened; a missing image is in the list.

    Args:
        source: a folder, searched recursively for images (ids are paths below it); a text file with a path a line
            (ids are the lines); a .jsonl file of objects with `image`, `file_name` or `path`, and perhaps `image_id` or
            `id`, else the path is the id; or a .json file in COCO's form, {"images": [{"id", "file_name"}]}.
        image_root: the folder that paths in a file are relative to; by default the file's own.

    Raises:
        FileNotFoundError: no such source.
        ValueError: it lists no image, a line cannot be read, or two different images have the same id.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}: give a folder of images or a file that lists them.")
    if source.is_dir():
        found = (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        images = [(path.relative_to(source).as_posix(), path) for path in found]
    else:
        read = {".jsonl": _read_json_lines, ".json": _read_coco}.get(source.suffix.lower(), _read_lines)
        root = Path(image_root) if image_root is not None else source.parent
        images = [(name, root / path) for name, path in read(source)]
    unique: dict[str, Path] = {}
    for name, path in images:
        name = name.encode("utf-8", "backslashreplace").decode()  # file names may hold any bytes, ids only text
        if unique.setdefault(name, path) != path:
            raise ValueError(f"{source}: two images have the id {name!r}: {unique[name]} and {path}.")
    if not unique:
        raise ValueError(f"{source} lists no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    if len(unique) < len(images):
        logger.warning("%s: %d repeated entries count once.", source, len(images) - len(unique))
    return sorted(unique.items())


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 ({error}); save it as UTF-8.") from error


def _read_lines(file: Path) -> Iterator[tuple[str, str]]:
    for line in _read_text(file).splitlines():
        if line.strip():
            yield line.strip(), line.strip()


def _read_json_lines(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_read_text(file).split("\n"), start=1):
        if line.strip():
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file}, line {number}: {error}; write one JSON object a line.") from error
            yield _name_and_path(entry, f"{file}, line {number}")


def _read_coco(file: Path) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads(_read_text(file))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}).") from error
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


__all__ = ["IMAGE_SUFFIXES", "list_images"]
