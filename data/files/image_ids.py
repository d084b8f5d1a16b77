"""One name for an image that several data sets hold under different names.

*collection*: images from one place, such as COCO's, which COCO captions, STAIR captions, COCO-CN, VQA 2.0 and a test
set of Multi30K all describe.
"""

import re
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
    path = PurePosixPath(name.partition("#")[0])
    if coco := _COCO_FILE.fullmatch(path.stem):
        return f"coco:{int(coco[1] or coco[2])}"
    if collection in NUMBERED:
        return f"{collection}:{int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else path.stem}"
    return f"{collection}:{path}" if collection else str(path)


__all__ = ["NUMBERED", "canonical_image_id"]
