"""Fonts for text in any of the seven languages; none that pip installs has the letters of all."""

import logging
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from PIL import ImageFont

logger = logging.getLogger(__name__)

# package -> its file
WESTERN = ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf")
EASTERN = ("manimgx_fonts_cjk", "NotoSansCJK-VF.otf.ttc")
FACES = {"ja": 0, "ko": 1, "zh": 2}  # of the collection Noto Sans CJK: letter forms of these languages, "zh" simplified


def load_font(
    size: int = 15, language: str = "zh", *, text: str = "", weight: str = "Medium", path: str | PathLike | None = None
) -> ImageFont.FreeTypeFont:
    """Return a font that has every letter of a line of text.

    That is Noto Sans CJK for Chinese, Japanese and Korean, which lacks letters of Czech, and the DejaVu Sans that comes
    with matplotlib for other languages; then the other of the two. Both are in `wenlan[demo]`. Without them it is the
    font that comes with Pillow: Latin letters, few with accents.

    Args:
        size: in pixels.
        language: such as "cs".
        text: the line.
        weight: of Noto Sans CJK, such as "Regular".
        path: a font file instead.

    Raises:
        FileNotFoundError: no such font file.
        ValueError: letters that no font has beside the others of the line.
    """
    letters = sorted({letter for letter in text if not letter.isspace()})
    fonts = _open_fonts(size, language, weight, None if path is None else Path(path))
    choices = [(font, [letter for letter in letters if lacks(letter)]) for font, lacks in fonts]
    font, absent = min(choices, key=lambda choice: len(choice[1]))
    if absent:
        raise ValueError(
            f"The font {font.getname()[0]} lacks {' '.join(absent[:10])}: give the file of one that has them "
            "(`font`), or pip install 'wenlan[demo]'."
        )
    return font


@lru_cache(8)
def _open_fonts(
    size: int, language: str, weight: str, path: Path | None
) -> list[tuple[ImageFont.FreeTypeFont, Callable[[str], bool]]]:
    """Return fonts, the best first, each with what tells whether it lacks a letter."""
    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(f"There is no font file {path}.")
        fonts = [ImageFont.truetype(path, size)]
    else:
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont)  # since a size is given
        fonts = [own]
        if western := _find(*WESTERN):
            fonts.insert(0, ImageFont.truetype(western, size))
        if eastern := _find(*EASTERN):
            font = ImageFont.truetype(eastern, size, index=FACES.get(language, FACES["zh"]))
            font.set_variation_by_name(weight)
            fonts.insert(0 if language in FACES else -1, font)
    return [(font, _lacks(font)) for font in fonts]


def readable(text: str, instead: str) -> str:
    """Return a text that some font has all letters of, or `instead` in its place; a warning says so."""
    try:
        load_font(text=text)
    except ValueError as error:
        logger.warning("%r stands for %r in the image. %s", instead, text, error)
        return instead
    return text


def font_files() -> list[Path]:
    """Return the files of DejaVu Sans and Noto Sans CJK, for matplotlib to take letters from in this order."""
    return [path for package, name in (WESTERN, EASTERN) if (path := _find(package, name))]


def _lacks(font: ImageFont.FreeTypeFont) -> Callable[[str], bool]:
    # The other layout would compose a letter that the font lacks of a plain letter and an accent.
    plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    box = bytes(plain.getmask("\U0010fffe"))  # a noncharacter: what the font shows for what it lacks
    return cache(lambda letter: bytes(plain.getmask(letter)) == box)


def _find(package: str, name: str) -> Path | None:
    """Return the path of a file of a package, without importing it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / name
    return path if path.is_file() else None  # Debian's matplotlib comes without its fonts


__all__ = ["font_files", "load_font", "readable"]
