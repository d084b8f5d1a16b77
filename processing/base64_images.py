"""Images that are text: data URIs and base64, as web pages and the tables of some data sets hold them."""

import base64
import binascii
import os
import re
from urllib.parse import unquote_to_bytes

# How the files of JPEG, PNG, GIF, WebP and TIFF begin in base64, in that order; JPEG also in the alphabet of URLs.
SIGNATURES = ("/9j/", "_9j_", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")
LONG = 200  # characters of base64 alone that are no path
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\s-]+")


def is_base64_image(source: object) -> bool:
    """Return True for a data URI, and for a text that is an image in base64 and no path that exists."""
    if not isinstance(source, str):
        return False
    text = source.lstrip()
    if text[:5].lower() == "data:":
        return True
    signs = text.startswith(SIGNATURES), len(text) > LONG, _BASE64.fullmatch(text[:1000]) is not None
    return sum(signs) > 1 and not os.path.exists(source)


def decode_base64(text: str) -> bytes:
    """Return the file that a data URI or base64 holds, in the usual alphabet or in that of URLs.

    Raises:
        ValueError: it is no base64; the message does not repeat it.
    """
    text = text.lstrip()
    if text[:5].lower() == "data:":
        header, comma, text = text.partition(",")
        if not comma or not header.replace(" ", "").lower().endswith(";base64"):
            raise ValueError("a data URI must be data:image/...;base64,...")
        text = unquote_to_bytes(text).decode("latin-1")
    text = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is no base64") from error


__all__ = ["decode_base64", "is_base64_image"]
