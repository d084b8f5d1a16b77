"""One name for an image that several data sets, or a list and the disk, hold under different names.

*collection*: images from one place, such as COCO's, which COCO captions, STAIR captions, COCO-CN, VQA 2.0 and a test
set of Multi30K all describe.
"""

import os
import re
import unicodedata
from pathlib import PurePosixPath

NUMBERED = ("coco", "flickr30k", "visual_genome")  # an image's file is named by its number there
_COCO_FILE = re.compile(r"COCO_[A-Za-z0-9-]+_(\d+)|(\d{12})")  # of 2014, of 2017


def canonical_image_id(name: str | int, collection: str = "") -> str:
    """Return the id of an image in a collection: its number, or its path where images are not named by numbers.

    Args:
        name: a number, or a file's name with or without folders, suffix and "#n", the number of a caption.
        collection: is "coco" for names as COCO gives them, COCO_ and a number or twelve digits, whatever is given.

    >>> canonical_image_id("train2014/COCO_train2014_000000000042.jpg")
    'coco:42'
    >>> canonical_image_id("train2017/000000000042.jpg")
    'coco:42'
    >>> canonical_image_id(42, "coco")
    'coco:42'
    >>> canonical_image_id("1000092795.jpg#2", "flickr30k"), canonical_image_id("cats/1.jpg")
    ('flickr30k:1000092795', 'cats/1.jpg')
    """
    if isinstance(name, int):
        return f"{collection}:{name}" if collection else str(name)
    path = PurePosixPath(compose(name.partition("#")[0]))
    if coco := _COCO_FILE.fullmatch(path.stem):
        return f"coco:{int(coco[1] or coco[2])}"
    if collection in NUMBERED:
        return f"{collection}:{int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else path.stem}"
    return f"{collection}:{path}" if collection else str(path)


def compose(name: str) -> str:
    """Return a name in the Unicode form NFC: names from macOS come as NFD, which looks the same."""
    return unicodedata.normalize("NFC", name)


def name_as_text(name: str) -> str:
    r"""Return a name with bytes that are not UTF-8 written as the surrogates that Python reads them as.

    >>> name_as_text(os.fsdecode(b"\xc3\xa8.png")), name_as_text(os.fsdecode(b"\xc3.png"))  # UTF-8, GBK
    ('è.png', '\\udcc3.png')
    """
    return name.encode("utf-8", "backslashreplace").decode()


def find_file(path: str) -> str:
    """Return the path under which a file is on the disk, be its names in NFC or NFD; the path itself if it is not."""
    if path.isascii() or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    folder = find_file(folder) if folder and name else folder
    forms = (os.path.join(folder, unicodedata.normalize(form, name)) for form in ("NFC", "NFD"))
    return next(filter(os.path.lexists, forms), path)


def name_in_other_case(path: str) -> str | None:
    """Return the name of a file beside a missing one that differs from it in upper and lower case only."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    others = (stem + suffix.lower(), stem + suffix.upper(), name.lower(), name.upper(), stem.upper() + suffix.lower())
    return next((other for other in others if other != name and os.path.lexists(os.path.join(folder, other))), None)


__all__ = ["NUMBERED", "canonical_image_id", "compose", "find_file", "name_as_text", "name_in_other_case"]
