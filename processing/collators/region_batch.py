"""What MLMM's collators share: an image whose regions are bad is counted and left out, in every worker."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.utils.data import get_worker_info

from ..processing_mlmm import MLMMProcessor
from ..region_inputs import CAUSES, ImageRegions, RegionError, read_regions_of
from .skip_counter import MAX_WORKERS

logger = logging.getLogger(__name__)


@dataclass
class RegionCollator:
    """Reads the `regions` of rows; bad ones are counted, and logged once a cause.

    Args:
        processor: makes the tensors.
    """

    processor: MLMMProcessor
    # In shared memory, since each DataLoader worker has a copy; a row each, since += is not atomic.
    _counts: torch.Tensor = field(init=False, repr=False, compare=False)
    _logged: set[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._counts = torch.zeros(MAX_WORKERS + 1, len(CAUSES), dtype=torch.int64).share_memory_()
        self._logged = set()

    @property
    def bad_regions(self) -> Counter[str]:
        """Number of images left out so far by cause (see `region_rows.CAUSES`), over all DataLoader workers."""
        return Counter(dict(zip(CAUSES, self._counts.sum(dim=0).tolist(), strict=True))) + Counter()

    def read_image(self, row: Mapping[str, object], *, with_class_probs: bool = False) -> ImageRegions | None:
        """Return the regions of a row of `wenlan.data.read_regions`, None if they cannot be used."""
        name, width = f"Image {row.get('image_id', 'without image_id')}", self.processor.region_feature_dim
        try:
            return read_regions_of(row, name, feature_dim=width, with_class_probs=with_class_probs)
        except RegionError as error:
            worker = get_worker_info()
            at = 0 if worker is None else 1 + worker.id % MAX_WORKERS
            self._counts[at, CAUSES.index(error.cause)] += 1
            if error.cause not in self._logged:
                self._logged.add(error.cause)
                logger.warning("Row left out, %s: %s Further ones of this cause are only counted.", error.cause, error)
            return None

    def read_images(
        self, rows: Sequence[Mapping[str, object]], *, with_class_probs: bool = False
    ) -> tuple[list[Mapping[str, object]], list[ImageRegions]]:
        """Return the rows whose regions can be used, and these regions.

        Raises:
            ValueError: there is none.
        """
        read = [(row, self.read_image(row["regions"], with_class_probs=with_class_probs)) for row in rows]
        usable = [(row, image) for row, image in read if image is not None]
        if not usable:
            raise ValueError(
                f"None of the {len(rows)} images of a batch has regions that can be used; so far: "
                f"{dict(self.bad_regions)}. The log names the first of each cause."
            )
        return [row for row, _ in usable], [image for _, image in usable]


__all__ = ["RegionCollator"]
