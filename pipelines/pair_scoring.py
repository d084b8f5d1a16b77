"""The score of every text with every image: what retrieval with one tower ranks by."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ..processing.processing_mlmm import MLMMProcessor
from ..processing.region_inputs import pad_regions, read_regions_of


class PairScorer:
    """Score texts with images that were embedded once, at the start: one pass through the encoder a pair.

    Pairs come in the order of their lengths, words and regions together, so that little or nothing is padding.

    Args:
        model: scores pairs; is put into evaluation mode.
        processor: its processor.
        images: rows of `wenlan.data.read_regions`.
        batch_size: pairs at a time.
        dtype: that the encoder computes in, `torch.bfloat16` or `torch.float16` on a GPU; scores are float32 always.
        blind: a control: every region's feature and place are zeros.

    Attributes:
        images_hash: 16 hexadecimal digits that identify the regions of all images and their order.

    Raises:
        RegionError: an image has no regions or such that the model cannot read; the message names it.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: MLMMForImageTextRetrieval,
        processor: MLMMProcessor,
        images: Sequence[Mapping[str, object]],
        *,
        batch_size: int = 256,
        dtype: torch.dtype = torch.float32,
        blind: bool = False,
    ) -> None:
        self.model, self.processor, self.batch_size, self.dtype = model.eval(), processor, batch_size, dtype
        digest, states, counts = hashlib.sha256(), [], []
        for start in range(0, len(images), batch_size):
            rows = [images[index] for index in range(start, min(start + batch_size, len(images)))]
            regions = [
                read_regions_of(row, f"Image {row.get('image_id', index)}", feature_dim=model.config.region_feature_dim)
                for index, row in enumerate(rows, start)
            ]
            if blind:
                regions = [one._replace(features=one.features * 0, boxes=one.boxes * 0) for one in regions]
            for one in regions:
                digest.update(one.features.numpy().tobytes() + one.boxes.numpy().tobytes())
            padded = {name: value.to(model.device) for name, value in pad_regions(regions).items()}
            features, boxes = padded["region_features"], padded["region_boxes"]
            with self._autocast():
                embedded = model.mlmm.embed_regions(features, boxes)
            states.append(embedded[padded["region_attention_mask"].bool()].to(dtype))
            counts += [len(one.boxes) for one in regions]
        self.images_hash = digest.hexdigest()[:16]
        self._regions = torch.cat(states)  # (regions of all images, h)
        self._counts = torch.tensor(counts)

    def __len__(self) -> int:
        """Return number of images."""
        return len(self._counts)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return (texts, images) float32 scores on the CPU, higher = they match better.

        Raises:
            ValueError: a text is blank, or a score is not finite.
        """
        words, lengths = self._embed_texts(texts)
        cache = torch.cat([words, self._regions])
        first_word = lengths.cumsum(0) - lengths
        first_region = len(words) + self._counts.cumsum(0) - self._counts
        totals = (lengths[:, None] + self._counts).flatten()
        scores = torch.empty(len(totals), device=cache.device)
        for pairs in totals.argsort(stable=True).split(self.batch_size):
            text, image = pairs // len(self), pairs % len(self)
            place, length = torch.arange(int(totals[pairs[-1]])), lengths[text, None]
            mask, text_mask = place < totals[pairs, None], place < length
            source = torch.where(text_mask, first_word[text, None], first_region[image, None] - length) + place
            states = cache[source.where(mask, 0).to(cache.device)]
            needed_mask = None if mask.all() else mask.to(cache.device)
            with self._autocast():
                found = self.model.score_embedded(states, text_mask.to(cache.device), needed_mask)
            scores[pairs.to(cache.device)] = found.float()
        scores = scores.view(len(texts), len(self)).cpu()
        if not scores.isfinite().all():
            text, image = (~scores.isfinite()).nonzero()[0].tolist()
            raise ValueError(
                f"The score of text {text} ({texts[text]!r}) with image {image} is not finite: the weights are "
                f"broken, or {self.dtype} is too narrow for this model; try float32."
            )
        return scores

    def _embed_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the states of all tokens (n, h), and how many each text has."""
        encoded = self.processor(text=list(texts))
        mask = encoded["attention_mask"].bool()
        with self._autocast():
            states = self.model.mlmm.text_embeddings(encoded["input_ids"].to(self.model.device))
        return states[mask.to(states.device)].to(self.dtype), mask.sum(dim=1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.model.device.type, self.dtype, enabled=self.dtype != torch.float32)


__all__ = ["PairScorer"]
