"""Base of MLMM's collators: an image whose regions are bad is counted and left out, in every worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from ...data.rows.report import BadRowError, BadRowReport, EmptyBatchError
from ...data.rows.types import MaskingExample, QuestionExample
from ..processing_mlmm import MLMMProcessor
from ..region_inputs import ImageRegions, RegionError, read_regions_of

Example = TypeVar("Example", MaskingExample, QuestionExample)


@dataclass
class RegionCollator:
    """Read the `regions` of rows; bad ones are counted, and logged once a cause.

    Args:
        processor: makes the tensors.

    Attributes:
        bad_rows: what was left out so far, over all DataLoader workers.
    """

    processor: MLMMProcessor
    bad_rows: BadRowReport = field(
        default_factory=partial(BadRowReport, "regions of batches", shared=True), init=False, repr=False, compare=False
    )

    def read_image(self, row: Mapping[str, object], *, with_class_probs: bool = False) -> ImageRegions | None:
        """Return the regions of a row of `wenlan.data.read_regions`, None if they cannot be used."""
        name, width = f"Image {row.get('image_id', 'without image_id')}", self.processor.region_feature_dim
        try:
            regions = read_regions_of(row, name, feature_dim=width, with_class_probs=with_class_probs)
        except RegionError as error:
            self.bad_rows.add_bad_row(BadRowError.of_image(error))
            return None
        self.bad_rows.keep_rows()
        return regions

    def read_images(
        self, rows: Sequence[Example], *, with_class_probs: bool = False
    ) -> tuple[list[Example], list[ImageRegions]]:
        """Return the rows whose regions can be used, and these regions.

        Raises:
            EmptyBatchError: there is none.
        """
        read = [(row, self.read_image(row["regions"], with_class_probs=with_class_probs)) for row in rows]
        usable = [(row, image) for row, image in read if image is not None]
        if not usable:
            raise EmptyBatchError(
                f"None of the {len(rows)} images of a batch has regions that can be used; so far: "
                f"{dict(self.bad_rows.counts)}. The log names the first of each cause."
            )
        return [row for row, _ in usable], [image for _, image in usable]


__all__ = ["RegionCollator"]
