"""The names of the 1,000 classes of ImageNet-1k in Chinese and English."""

from pathlib import Path

from ..files.json_files import read_json

FILE = Path(__file__).parent / "class_names.json"
NAMED_IN = ("zh", "en")


def read_class_names() -> dict[str, list[str]]:
    """Return the names by language of `NAMED_IN`, in the order of the classes. Some Chinese ones repeat.

    >>> read_class_names()["en"][:2]
    ['tench', 'goldfish']
    """
    content = read_json(FILE)
    assert isinstance(content, dict)  # the file is ours
    return content


__all__ = ["NAMED_IN", "read_class_names"]
