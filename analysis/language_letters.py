"""Letters for text in any of the seven languages: no single font of the demo packages has all of them."""

from functools import cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from PIL import ImageFont

from ..processing.regions.drawing import load_letters

# faces of Noto Sans CJK with the letter forms of these languages
FACES = {"ja": 0, "ko": 1, "zh": 2}


@cache
def load_language_letters(language: str, size: int, font: str | PathLike | None = None) -> ImageFont.FreeTypeFont:
    """Returns a font for a language.

    Chinese, Japanese and Korean are set in Noto Sans CJK, each in its own letter forms. That lacks letters of Czech, so
    other languages are set in the DejaVu Sans that comes with matplotlib. Both are in `wenlan[demo]`.

    Args:
        language: such as "cs".
        size: in pixels.
        font: a font file instead.

    Raises:
        FileNotFoundError: no such font file.
    """
    if font is None and language not in FACES and (package := find_spec("matplotlib")) is not None:
        return load_letters(size, Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
    letters = load_letters(size, font)
    if font is None and language in FACES and find_spec("manimgx_fonts_cjk") is not None:
        letters = letters.font_variant(index=FACES[language])
        letters.set_variation_by_name("Medium")
    return letters


def check_letters(text: str, letters: ImageFont.FreeTypeFont) -> None:
    """Raises ValueError for characters that a font lacks."""
    plain = letters.font_variant(layout_engine=ImageFont.Layout.BASIC)  # the other one takes absent letters to pieces
    missing = bytes(plain.getmask("\U0010fffe"))  # a noncharacter: what the font shows for what it lacks
    if absent := sorted({one for one in text if not one.isspace() and bytes(plain.getmask(one)) == missing}):
        raise ValueError(
            f"The font {letters.getname()[0]} lacks {' '.join(absent[:10])}: give the file of one that has them "
            "(`font`), or pip install 'wenlan[demo]'."
        )


__all__ = ["check_letters", "load_language_letters"]
