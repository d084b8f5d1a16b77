"""Lines of text that fit a width, in the pixels of one font."""

from PIL.ImageFont import FreeTypeFont


def line_height(font: FreeTypeFont) -> int:
    """Return the pixels from one line to the next."""
    return sum(font.getmetrics()) + 2


def shorten(text: str, font: FreeTypeFont, width: float) -> str:
    """Return the text, cut and ended by an ellipsis where it is wider; "" where not even one letter fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def break_lines(text: str, font: FreeTypeFont, width: float) -> list[tuple[int, str]]:
    """Return (first character, line) of lines that fit, broken at the last space or, without one, anywhere."""
    lines, start = [], 0
    while start < len(text):
        end = start + 1
        while end < len(text) and font.getlength(text[start : end + 1]) <= width:
            end += 1
        if end < len(text) and text[end] != " " and (space := text.rfind(" ", start + 1, end)) > 0:
            end = space
        lines.append((start, text[start:end]))
        start = end + (end < len(text) and text[end] == " ")
    return lines


__all__ = ["break_lines", "line_height", "shorten"]
