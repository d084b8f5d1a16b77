"""Zero-shot classification of many images, streamed: batches through the image tower, rows to shards as they come."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain, islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ...data.files.hashing import hash_model
from ...data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from ...data.zero_shot.images import LabelledImage, LabelledImages
from ...pipelines.decode_ahead import decode_ahead
from ...pipelines.embedding import embed_images
from ...processing.processing_brivl import BriVLProcessor
from .anchors import ClassAnchors
from .prediction_shards import FIRST, Piece, Predictions, PredictionShards

MAX_BAD_FRACTION = 0.01  # of images that cannot be decoded

Anchors = Mapping[str, tuple[ClassAnchors, ClassAnchors]]  # setting -> of the classes, and with permuted names


def classify_images(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    images: LabelledImages,
    anchors: Anchors,
    shards: PredictionShards,
    *,
    batch_size: int = 32,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    progress: bool = False,
) -> tuple[Piece, BadRowReport]:
    """Return the predictions of all images, and the report of those left out; shards that are there are not made again.

    Each image goes through the image tower once, whatever the number of settings.

    Args:
        model: a `BriVLModel`; is put into evaluation mode, and does not change.
        processor: its processor.
        images: with their labels.
        anchors: of each setting.
        shards: where rows go.
        batch_size: images at a time.
        max_bad_fraction: of the images that may be undecodable; one among several may be.
        progress: show a progress bar.

    Raises:
        TooManyBadRowsError: more images cannot be decoded.
        ValueError: a source that changed while it was read, or embeddings that are not finite.
    """
    model.eval().requires_grad_(False)
    frozen = hash_model(model)
    anchors = {one: (own.to(model.device), other.to(model.device)) for one, (own, other) in anchors.items()}
    report = BadRowReport(images.source)
    report.not_looked_at.update(images.not_looked_at)
    pending, rows, bad = set(shards.pending()), iter(images), 0
    with tqdm(total=images.count, unit="image", desc="zero-shot", disable=not progress) as bar:
        for shard, part in enumerate(shards.parts):
            items = islice(rows, len(part))
            if shard in pending:
                piece = _classify(model, processor, items, anchors, batch_size)
                if len(piece.names) + len(piece.bad) < len(part):
                    raise ValueError(f"{images.source} has fewer images than when it was opened; start again.")
                shards.write(shard, piece)
            else:
                piece = shards.read(shard)
                deque(items, maxlen=0)  # they are passed over
            bad += len(piece.bad)
            if bad > max(1, max_bad_fraction * images.count):  # whatever the others are
                for name, error in piece.bad:
                    report.add_bad_row(error, name)
                raise TooManyBadRowsError(f"More than {max_bad_fraction:.0%} of the images cannot be read.\n{report}")
            bar.update(len(part))
    if hash_model(model) != frozen:
        raise AssertionError("The encoders are frozen, but their weights have changed.")
    found = shards.read_all(report)
    report.raise_above(max_bad_fraction)
    report.log()
    return found, report


def _classify(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    images: Iterator[LabelledImage],
    anchors: Anchors,
    batch_size: int,
) -> Piece:
    names, labels, bad = list[str](), list[int](), list[tuple[str, BadRowError]]()
    waiting = deque[LabelledImage]()

    def sources() -> Iterator[str | bytes | BadRowError]:
        for image in images:
            waiting.append(image)
            yield image.image

    def decoded() -> Iterator[Image.Image]:
        for found in decode_ahead(sources(), as_original=processor.image_processor.as_original):
            image = waiting.popleft()
            if isinstance(found, BadRowError):
                bad.append((image.name, found))
            else:
                assert image.label is not None
                names.append(image.name)
                labels.append(image.label)
                yield found

    good = decoded()
    first = list(islice(good, 1))
    embeds = torch.empty(0, model.config.projection_dim)
    if first:
        embeds = embed_images(model, processor, chain(first, good), batch_size=batch_size)
    right = torch.tensor(labels, dtype=torch.int64)
    settings = {one: _predict(embeds.to(model.device), right.to(model.device), *two) for one, two in anchors.items()}
    return Piece(names, right.numpy().astype(np.int32), settings, bad)


def _predict(embeds: Tensor, labels: Tensor, anchors: ClassAnchors, permuted: ClassAnchors) -> Predictions:
    scores = anchors.scores(embeds)  # (n, classes)
    first = min(FIRST, anchors.count)
    ordered = scores.sort(dim=1, descending=True, stable=True)  # of equal scores the lower index first
    right = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    other = permuted.scores(embeds).sort(dim=1, descending=True, stable=True).indices[:, :first]
    return Predictions(
        ordered.indices[:, :first].int().cpu().numpy(),
        ordered.values[:, :first].float().cpu().numpy(),
        (right[:, 0] - others).float().cpu().numpy(),
        other.int().cpu().numpy(),
    )


__all__ = ["MAX_BAD_FRACTION", "Anchors", "classify_images"]
