"""Files that Pillow misreads: it takes rows that are missing for black ones, and refuses texts above its limit."""

import io
import re
from collections.abc import Collection, Iterator

from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # texts that may say which side is up
_END = b"\xd9"
JPEG_GREY = {128, 127}  # of blocks for which a file has no data; CMYK is stored inverted
# Data that no JPEG decoder reads as grey blocks, whatever its tables and restart intervals.
JPEG_NOISE = b"".join(bytes([*range(1, 255), 0xFF, 0xD0 + number % 8]) for number in range(16))
_PROGRESSIVE = {b"\xc2", b"\xca"}  # frames whose scans refine each other
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # of a segment: in a scan, FF 00 and FF D0..D7 are data


def lacks_pixels(image: Image.Image, data: bytes) -> bool:
    """Return whether a file ends in good order before the image does, which decoders take for black, grey or blurred.

    Only PNG and JPEG can. A second decoding answers, and only where the last rows are empty.

    Args:
        image: as Pillow decoded it.
        data: its file.
    """
    width, height = image.size
    if image.format == "PNG":
        last = (image.crop((0, row, width, row + 1)).tobytes() for row in {height - 1, max(height - 2, 0)})
        return not all(map(any, last)) and _png_keeps_old_pixels(image, data)
    if image.format in ("JPEG", "MPO"):
        corner = image.getpixel((width - 1, height - 1))
        is_grey = JPEG_GREY.issuperset(corner if isinstance(corner, tuple) else [corner])
        return (is_grey and _jpeg_reads_on(image, data)) or _jpeg_lacks_scans(data)
    return False


def strip_png_texts(data: bytes, *, keep: Collection[bytes]) -> bytes:
    """Return a PNG without its texts and colour profile, except for the texts under some keywords."""
    kept = [
        data[start:end]
        for kind, start, end in _png_chunks(data)
        if kind not in PNG_TEXTS or data[start + 8 : end].partition(b"\0")[0] in keep
    ]
    return b"".join([PNG_SIGNATURE, *kept])


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the chunks of a PNG."""
    start = len(PNG_SIGNATURE)
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], start, end
        start = end


def _png_keeps_old_pixels(image: Image.Image, data: bytes) -> bool:
    """Return whether a second decoding, into an image that is not black, gives other pixels."""
    second = Image.open(io.BytesIO(data))
    # Pillow decodes into what is there.
    second.im = Image.new(
        second.mode, second.size, 1 if len(second.getbands()) == 1 else (1,) * len(second.getbands())
    ).im
    return second.tobytes() != image.tobytes()


def _jpeg_reads_on(image: Image.Image, data: bytes) -> bool:
    """Return whether data after the last scan change the pixels: then the scan has not enough of its own."""
    end = _end_of_scans(data)
    second = Image.open(io.BytesIO(data[:end] + JPEG_NOISE + b"\xff\xd9"))
    return second.tobytes() != image.tobytes()


def _jpeg_lacks_scans(data: bytes) -> bool:
    """Return whether the scans of a progressive JPEG leave out bits of some coefficients: later ones were cut off."""
    lowest: dict[int, list[int]] = {}  # of each component and coefficient, the lowest bit that was sent
    for marker, start, end in _jpeg_segments(data):
        body = data[start + 2 : end]
        if marker in _PROGRESSIVE and len(body) > 5:
            lowest = {component: [99] * 64 for component in body[6 : 6 + 3 * body[5] : 3]}
        elif marker == b"\xda" and lowest and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                lowest.setdefault(component, [0] * 64)[first : last + 1] = [bits & 15] * (last + 1 - first)
    return any(map(any, lowest.values()))


def _end_of_scans(data: bytes) -> int:
    """Return where the first image of a JPEG file ends: at its marker for that, or with the file."""
    return next((start for marker, start, _ in _jpeg_segments(data) if marker == _END), len(data))


def _jpeg_segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield marker, start and end of the segments of the first image of a JPEG file, up to its marker for the end."""
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        position = found.end()
        if found[1] not in (b"\x01", b"\xd8", _END):
            position += int.from_bytes(data[position : position + 2], "big")
        yield found[1], found.end() if found[1] != _END else found.start(), position
        if found[1] == _END:
            return


__all__ = ["ORIENTATION", "PNG_SIGNATURE", "lacks_pixels", "strip_png_texts"]
