"""Extract the regions of many images into shards that `read_regions` opens.

    wenlan extract-regions photos --output runs/regions --model MODEL
    wenlan extract-regions coco.json --image-root train2014 --output runs/regions --model MODEL --top-k 100

Killed at any moment and started again, it resumes with the first shard that is not complete; no row is lost or doubled,
and every row has the same bits as in an unbroken run on the same machine. Started again when all is done, it
makes those shards anew that are damaged, or of which an image was replaced.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..data.files.image_listing import list_images
from ..data.files.lock import output_lock
from ..data.regions.schema import LABELS, RegionInfo
from ..data.regions.shards import SkippedInput
from ..data.regions.writer import RegionFolder, RegionShard
from ..data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError, check_fraction
from ..processing.regions.feature_extractor import RegionFeatureExtractor
from ..processing.regions.output import RegionOutput
from .decode_ahead import decode_ahead
from .device import choose_device
from .workers.run_tasks import OpenedWorker, run_tasks

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DETECTOR_FAILED = "detector failed"
MAX_FAILURES = 8  # of a shard without any success: then it is not the images
WINDOW_BATCHES = 4  # images that are looked at together for some of equal size, in batches
WINDOW_PIXELS = 50_000_000  # but no more than these, except for a single larger image

Decoded = tuple[int, Image.Image | BadRowError]


@dataclass(frozen=True)
class RegionChoice:
    """Settings of the choice of regions: the arguments of `RegionFeatureExtractor.extract` with its defaults."""

    min_boxes: int = 10
    max_boxes: int = 100
    conf_threshold: float = 0.2
    region_boxes: str | None = None


def extract_regions(
    images: str | Path,
    output: str | Path,
    *,
    model: str | Path,
    backend: str = "native",
    image_root: str | Path | None = None,
    choice: RegionChoice | None = None,
    top_k: int | None = None,
    batch_size: int = 8,
    shard_size: int = 256,
    dtype: str = "float32",
    device: str | None = None,
    num_workers: int = 2,
    max_bad_fraction: float = 0.1,
    num_proc: int | None = 1,
    ray: str | None = None,
) -> BadRowReport:
    """Write a row of regions for every image that can be read, and a report of all others.

    Args:
        images: a folder, or a file that lists images (see `list_images`).
        output: the folder for shards, `manifest.json` and `report.json`. A run that was stopped there resumes.
        model: folder or hub id of the detector.
        backend: "native" or "detectron2".
        image_root: the folder that paths in a list are relative to, if not the list's own.
        choice: which boxes become regions.
        top_k: classes of each distribution that are kept; None = all.
        batch_size: images of equal size a forward pass.
        shard_size: images a shard, which is also what a kill can cost.
        dtype: of the convolutions, "float32" or "bfloat16".
        device: of the detector; by default a GPU if there is one.
        num_workers: threads of each process that read and decode images.
        max_bad_fraction: a greater fraction of images left out is an error after the last one, see `RegionFolder`.
        num_proc, ray: processes, or a Ray cluster, that share the shards; see `run_tasks`. The rows are the same.

    Returns:
        What was written and left out, over all runs into `output`.

    Raises:
        FileNotFoundError: no such images.
        ValueError: `output` was begun with other images or settings, or an argument is out of range.
        TooManyBadRowsError: too many images were left out, or the detector fails on all of a shard.
        ChildProcessError: a process was killed; the finished shards stay for the next try.
    """
    if dtype not in DTYPES or batch_size < 1 or num_workers < 1:
        raise ValueError(
            f"dtype {dtype!r} of {', '.join(DTYPES)}; batch_size {batch_size}, num_workers {num_workers} > 0."
        )
    check_fraction(max_bad_fraction)
    ignored = Counter[str]()
    listed = list_images(images, image_root=image_root, ignored=ignored)
    open_extractor = partial(_open_extractor, model, backend, dtype, device)
    extractor, choice = open_extractor(), choice or RegionChoice()
    info = _describe(extractor, choice, top_k, {"backend": backend, "dtype": dtype})
    options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers}
    names, paths = zip(*listed, strict=True)
    with output_lock(Path(output)):
        folder = RegionFolder(Path(output), names, info, shard_size=shard_size, paths=paths)
        pending = folder.pending()
        finished = len(listed) - sum(len(folder.inputs[shard]) for shard in pending)
        with tqdm(total=len(listed), initial=finished, desc="extract", unit=" images", disable=None) as bar:
            extraction = _Extraction(lambda: extractor, choice, info, **options, advance=bar.update)
            worker = OpenedWorker(extraction, partial(_Extraction, open_extractor, choice, info, **options))
            tasks = (folder.shard(shard) for shard in pending)
            causes_seen = set[str]()
            with closing(run_tasks(worker, tasks, num_proc=num_proc, ray=ray)) as done:
                for task, skipped in done:
                    finished += len(folder.inputs[pending[task]])
                    bar.update(finished - bar.n)  # what this process did itself is there already
                    _log(skipped, causes_seen)
        return folder.finish(ignored, max_bad_fraction=max_bad_fraction)


def _describe(
    extractor: RegionFeatureExtractor, choice: RegionChoice, top_k: int | None, settings: dict[str, Any]
) -> RegionInfo:
    """Return the settings that all rows share; an argument that does not fit is an error before the first image."""
    output = extractor.extract([Image.new("RGB", (64, 64))], **vars(choice))
    return RegionInfo(
        model_hash=extractor.model_hash,
        feature_dim=output.features.shape[-1],
        num_classes=output.class_probs.shape[-1],
        background_index=output.background_index,
        top_k=top_k,
        labels=tuple(name for name in LABELS if output.get(name) is not None),
        settings={
            **vars(choice),
            "region_boxes": choice.region_boxes or extractor.config.region_boxes,
            "proposals": extractor.config.post_nms_top_n,
            **settings,
        },
    )


def _open_extractor(model: str | Path, backend: str, dtype: str, device: str | None) -> RegionFeatureExtractor:
    device = choose_device(device)
    return RegionFeatureExtractor.from_pretrained(model, backend, dtype=DTYPES[dtype], device=device)


class _Extraction:
    """Write shards of the regions of images, each in the order of its images; tell what was left out.

    Args:
        open_extractor: returns the detector that `info` describes.
        advance: is told the number of images that were looked at.
    """

    def __init__(
        self,
        open_extractor: Callable[[], RegionFeatureExtractor],
        choice: RegionChoice,
        info: RegionInfo,
        *,
        batch_size: int,
        num_workers: int,
        advance: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.extractor = open_extractor()
        self.choice, self.info, self.batch_size, self.num_workers = choice, info, batch_size, num_workers
        self.advance = advance
        if (found := self.extractor.model_hash) != info.model_hash:
            raise ValueError(f"The detector changed while it was used: it is {found} and was {info.model_hash}.")

    def __call__(self, shard: RegionShard) -> list[SkippedInput]:
        """Write a shard; return its images without a row.

        Raises:
            TooManyBadRowsError: the detector fails on all of many images.
        """
        rows: dict[int, dict[str, Any]] = {}
        skipped: dict[int, SkippedInput] = {}
        # Images of one shape come together, so that batches are full; the rows are put back in order.
        order = sorted(range(len(shard.files)), key=lambda position: _shape(shard.files[position]))
        images = decode_ahead((shard.files[position] for position in order), num_workers=self.num_workers)
        for window in _windows(zip(order, images, strict=True), self.batch_size * WINDOW_BATCHES):
            found = iter(self._regions([image for _, image in window if isinstance(image, Image.Image)]))
            for position, image in window:
                name, path = shard.image_ids[position], shard.files[position]
                result = next(found) if isinstance(image, Image.Image) else image
                if isinstance(result, BadRowError):
                    skipped[position] = SkippedInput(name, str(path), result.cause, result.found)
                else:
                    rows[position] = result | {"image_id": name}
            self.advance(len(window))
        left_out = [skipped[position] for position in sorted(skipped)]
        failed = [entry for entry in left_out if entry.cause == DETECTOR_FAILED]
        if len(failed) > MAX_FAILURES and not rows:
            raise TooManyBadRowsError(f"The detector failed on all {len(failed)} images.\n{failed[0].message}")
        shard.write([rows[position] for position in sorted(rows)], left_out)
        return left_out

    def _regions(self, images: list[Image.Image]) -> list[dict[str, Any] | BadRowError]:
        """Return the stored row of each image; where the detector fails, halves are tried to find which."""
        if not images:
            return []
        try:
            output = self.extractor.extract(images, batch_size=self.batch_size, **vars(self.choice))
        except torch.AcceleratorError:  # the device is lost: every further image would fail
            raise
        except Exception as error:  # recorded, with the image
            if len(images) == 1:
                return [BadRowError(DETECTOR_FAILED, f"{type(error).__name__}: {error}")]
            half = len(images) // 2
            return self._regions(images[:half]) + self._regions(images[half:])
        return [self._encode(output, index) for index in range(len(images))]

    def _encode(self, output: RegionOutput, index: int) -> dict[str, Any] | BadRowError:
        count = int(output.attention_mask[index].sum())
        height, width = output.image_sizes[index].tolist()
        row = {"image_height": height, "image_width": width}
        for name in ("boxes", "features", "class_probs", *self.info.labels):
            row[name] = output[name][index, :count].float().cpu().numpy()
        try:
            return self.info.encode(row)
        except BadRowError as error:
            return BadRowError(DETECTOR_FAILED, str(error))


def _log(skipped: Iterable[SkippedInput], causes_seen: set[str]) -> None:
    """Log the first image of each cause that was left out."""
    for entry in skipped:
        if entry.cause not in causes_seen:
            causes_seen.add(entry.cause)
            logger.warning("Left out, %s: %s (further ones of this cause are only counted)", entry.cause, entry.message)


def _shape(path: Path) -> float:
    """Return height / width as the header of the file has it, 0 where it has none."""
    if not path.is_file():  # a pipe would never end
        return 0.0
    try:
        with Image.open(path) as image:
            return image.height / image.width
    except Exception:  # whatever it is, `_decode` reports it
        return 0.0


def _windows(images: Iterable[Decoded], max_images: int) -> Iterator[list[Decoded]]:
    """Yield runs of images that fit in memory together."""
    window: list[Decoded] = []
    pixels = 0
    for position, image in images:
        size = image.width * image.height if isinstance(image, Image.Image) else 0
        if window and (len(window) == max_images or pixels + size > WINDOW_PIXELS):
            yield window
            window, pixels = [], 0
        window.append((position, image))
        pixels += size
    if window:
        yield window


__all__ = ["RegionChoice", "extract_regions"]
