"""Decodes the images of a training run: one that is bad is counted and left out, in every DataLoader worker."""

import logging
import os
from collections import Counter
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch.utils.data import get_worker_info

from ..image_decoding import CAUSES, ImageDecodingError, decode_image

logger = logging.getLogger(__name__)

MAX_WORKERS = 255  # of a DataLoader that count apart


@dataclass
class CountingDecoder:
    """`decode_image`, but a bad image gives None; it is counted, and logged once a cause."""

    # In shared memory, since each DataLoader worker has a copy; a row each, since += is not atomic.
    _counts: torch.Tensor = field(
        default_factory=lambda: torch.zeros(MAX_WORKERS + 1, len(CAUSES), dtype=torch.int64).share_memory_(),
        init=False,
        repr=False,
        compare=False,
    )
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def bad_images(self) -> Counter[str]:
        """Number of bad images so far by cause (see `image_decoding.CAUSES`), over all DataLoader workers."""
        return Counter(dict(zip(CAUSES, self._counts.sum(dim=0).tolist(), strict=True))) + Counter()

    def __call__(self, source: str | os.PathLike | bytes | Image.Image) -> Image.Image | None:
        """Return the image in RGB, None if it is bad."""
        try:
            return decode_image(source)
        except ImageDecodingError as error:
            worker = get_worker_info()
            row = 0 if worker is None else 1 + worker.id % MAX_WORKERS
            self._counts[row, CAUSES.index(error.cause)] += 1
            if error.cause not in self._logged:
                self._logged.add(error.cause)
                logger.warning("Row left out, %s: %s Further ones of this cause are only counted.", error.cause, error)
            return None


__all__ = ["CountingDecoder"]
