"""Base of the collators of images: one that cannot be decoded is left out with its row, in every DataLoader worker."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from PIL import Image

from ...data.rows.report import BadRowError, BadRowReport, EmptyBatchError
from ..image_decoding import ImageDecodingError, decode_image
from ..text_inputs import read_texts


@dataclass
class ImageCollator:
    """Decode the images of rows.

    Attributes:
        bad_rows: what was left out so far, over all DataLoader workers.
    """

    bad_rows: BadRowReport = field(
        default_factory=partial(BadRowReport, "images of batches", shared=True), init=False, repr=False, compare=False
    )

    def decode(
        self, source: str | os.PathLike | bytes | Image.Image, *, as_original: bool = False
    ) -> Image.Image | None:
        """Return the image in RGB, as `decode_image` does; None for one that cannot be decoded, which is counted."""
        try:
            return decode_image(source, as_original=as_original)
        except ImageDecodingError as error:
            self.bad_rows.add_bad_row(BadRowError.of_image(error))
            return None

    def has_text(self, text: str) -> bool:
        """Return True for a text that a processor takes; any other is counted."""
        try:
            read_texts([text])
        except ValueError:
            self.bad_rows.add_bad_row(BadRowError("empty text", repr(text)[:80]))
            return False
        return True

    def check_batch(self, rows: Sequence[object], decoded: Sequence[object]) -> None:
        """Count the good ones of some rows; raise EmptyBatchError if there is none."""
        self.bad_rows.keep_rows(len(decoded))
        if not decoded:
            raise EmptyBatchError(
                f"None of the {len(rows)} images of a batch can be decoded, or their texts read; so far: "
                f"{dict(self.bad_rows.counts)}. Check the image root."
            )


__all__ = ["ImageCollator"]
