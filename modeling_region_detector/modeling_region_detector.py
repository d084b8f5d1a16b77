"""`RegionDetector`: a Faster R-CNN that reads the bottom-up-attention, detectron2 and LXMERT checkpoints, and trains.

The names of its weights are detectron2's. Source: spec of the region features.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Unpack

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from .backbone import ConvNorm, FrozenNorm, TimmBackbone, build_backbone, build_timm_body
from .base_model import WenlanPreTrainedModel, transformers_keywords
from .boxes import clip_boxes, decode_boxes
from .configuration_region_detector import RegionDetectorConfig
from .losses import head_losses, rpn_losses, sample_proposals
from .roi_heads import RoiHeads
from .rpn import RegionProposalNetwork


@dataclass
class RegionDetectorOutput(ModelOutput):
    """B images, N = the most proposals of an image, K classes; rows beyond an image's own are zeros.

    Boxes are x1 y1 x2 y2 in pixels of the original image, that is of `pixel_values` divided by `image_scales`.

    Args:
        loss: scalar, the sum of `loss_dict`, given labels.
        loss_dict: loss_rpn_cls, loss_rpn_loc, loss_cls, loss_box_reg and, with attributes, loss_attribute.
        logits: (B, N, K + 1) class logits; `config.background_index` is the background.
        pred_boxes: (B, N, C, 4) the refined box for each class, clipped; C = K, or K + 1 if the background is first.
        proposals: (B, N, 4) what was refined, best first.
        proposal_mask: (B, N) int64, 1 = real proposal.
        proposal_scores: (B, N) probability of being an object; 1 for boxes that were given.
        features: (B, N, D) of the proposals.
        attribute_logits: (B, N, A + 1), with the most probable class taken for granted; None without attributes.
        image_sizes: (B, 2) height and width of the original images.
        hidden_states: the maps of the backbone, fine to coarse: (B, C, h, w) each.
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    proposals: Tensor | None = None
    proposal_mask: Tensor | None = None
    proposal_scores: Tensor | None = None
    features: Tensor | None = None
    attribute_logits: Tensor | None = None
    image_sizes: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class RegionDetector(WenlanPreTrainedModel):
    """Faster R-CNN: backbone, region proposal network, heads on the pooled proposals.

    Example:

    ```python
    >>> import torch
    >>> from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig
    >>> tiny = {"depth": 50, "stem_channels": 4, "bottleneck_channels": 4, "res2_channels": 16, "num_objects": 3}
    >>> model = RegionDetector(RegionDetectorConfig.from_variant("d2-c4", tiny)).eval()
    >>> model(torch.zeros(1, 3, 64, 64)).logits.shape[-1]
    4

    ```
    """

    config: RegionDetectorConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    # a detector without attributes may get their head
    _new_heads = tuple(f"roi_heads.box_predictor.{name}." for name in ("cls_embed", "attr_linear1", "attr_linear2"))
    accepts_loss_kwargs = False  # the loss is a mean: the Trainer must divide it by the accumulation steps

    def __init__(self, config: RegionDetectorConfig):
        super().__init__(config)
        config.validate()  # again: `from_pretrained` changes fields of a configuration that is made
        self.backbone = build_backbone(config)
        pooled = getattr(self.backbone, "num_pooled_levels", None)
        self.used_maps = slice(None) if pooled else slice(-1, None)  # without a pyramid the last map alone
        strides, channels = self.backbone.strides[self.used_maps], self.backbone.channels[self.used_maps]
        self.proposal_generator = RegionProposalNetwork(config, strides, channels)
        self.roi_heads = RoiHeads(config, strides[:pooled], channels[-1])
        self.post_init()
        self.freeze()

    def freeze(self) -> None:
        """Set `requires_grad` as the configuration says."""
        parts = tuple(f"{part}." for part in self.config.frozen_backbone)
        for name, parameter in self.backbone.named_parameters():
            if name.removeprefix("bottom_up.").removeprefix("body.").startswith(parts):
                parameter.requires_grad_(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, FrozenNorm):
            init.constant_(module.weight, module.initial_weight)
            init.ones_(module.running_var)
            for buffer in (module.bias, module.running_mean):
                init.zeros_(buffer)
        elif isinstance(module, nn.BatchNorm2d):
            super()._init_weights(module)
        elif isinstance(module, ConvNorm):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Conv2d | nn.Linear):
            if module in self._outputs():
                init.normal_(module.weight, std=std / 10 if module is self.roi_heads.box_predictor.bbox_pred else std)
            else:
                init.kaiming_uniform_(module.weight, a=1)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=std)

    def _foreign_parts(self) -> Iterator[tuple[nn.Module, Callable[[], nn.Module]]]:
        for module in self.modules():
            if isinstance(module, TimmBackbone):
                yield module.body, partial(build_timm_body, self.config)

    def _outputs(self) -> tuple[nn.Module, ...]:
        head, predictor = self.proposal_generator.rpn_head, self.roi_heads.box_predictor
        return (*head.children(), predictor.cls_score, predictor.bbox_pred)

    def fold_batch_norms(self) -> None:
        """Fold the batch norms of the ResNet into its convolutions, for inference: saved so, it does not load."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        image_scales: Tensor | None = None,
        boxes: Sequence[Tensor] | None = None,
        labels: Sequence[dict[str, Tensor]] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> RegionDetectorOutput:
        """Return what is in the images, or in training mode the losses alone.

        Args:
            pixel_values: (B, 3, H, W) prepared images, padded right and below; cast to the dtype of the weights.
            pixel_mask: (B, H, W), 1 = image, 0 = padding; everything is image without it.
            image_scales: (B, 2) pixels of `pixel_values` a pixel of the original, y and x; 1 without it.
            boxes: one (n, 4) an image, in pixels of the original, in place of proposals; n may be 0.
            labels: one dictionary an image: boxes (n, 4) x1 y1 x2 y2 in pixels of `pixel_values`, class_labels (n,)
                from 0 without background, and, for a detector with attributes, attributes (n, a) from 0, -1 = none.

        Raises:
            TypeError: for a keyword that is no input of the detector and no keyword of transformers.
            ValueError: `boxes` or `labels` are not as many as the images.
        """
        for name, given in (("boxes", boxes), ("labels", labels)):
            if given is not None and len(given) != len(pixel_values):
                raise ValueError(f"{len(given)} {name} were given for {len(pixel_values)} images; give one an image.")
        image_sizes = _image_sizes(pixel_values, pixel_mask)
        image_scales = torch.ones_like(image_sizes) if image_scales is None else image_scales.to(image_sizes)
        all_maps = self.backbone(pixel_values.to(self.dtype))
        maps = all_maps[self.used_maps]
        wants_maps = transformers_keywords(kwargs).get("output_hidden_states", self.config.output_hidden_states)
        hidden_states = tuple(all_maps) if wants_maps else None
        loss_dict = None
        if labels is not None or boxes is None:
            anchors, objectness, deltas = self.proposal_generator(maps)
            proposals, scores = self.proposal_generator.propose(anchors, objectness, deltas, image_sizes, image_scales)
        if labels is not None:
            loss_dict = rpn_losses(
                torch.cat(anchors), torch.cat(objectness, dim=1), torch.cat(deltas, dim=1), labels, self.config
            )
            loss_dict |= self._head_losses(maps, proposals, labels)
            if self.training:
                loss = reduce(torch.add, loss_dict.values())
                return RegionDetectorOutput(loss=loss, loss_dict=loss_dict, hidden_states=hidden_states)
        if boxes is not None:
            proposals = [
                torch.as_tensor(b, dtype=torch.float32, device=pixel_values.device).reshape(-1, 4) * _as_box(scale)
                for b, scale in zip(boxes, image_scales, strict=True)
            ]
            scores = [b.new_full((len(b),), math.inf) for b in proposals]
        output = self._predict(maps, proposals, scores, image_sizes, image_scales)
        output.hidden_states = hidden_states
        if loss_dict is not None:
            output.loss, output.loss_dict = reduce(torch.add, loss_dict.values()), loss_dict
        return output

    def _head_losses(
        self, maps: list[Tensor], proposals: list[Tensor], labels: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        samples = sample_proposals(proposals, labels, self.config)
        features = self._features(maps, [sample["boxes"] for sample in samples])
        class_logits, deltas = self.roi_heads.box_predictor(features)
        columns = torch.cat([sample["class_labels"] for sample in samples])
        attribute_logits = self.roi_heads.box_predictor.attributes(features, columns)
        return head_losses(class_logits, deltas, samples, self.config, attribute_logits=attribute_logits)

    def _features(self, maps: list[Tensor], boxes: list[Tensor]) -> Tensor:
        return self.roi_heads(maps[: len(self.roi_heads.strides)], boxes)

    def _predict(
        self,
        maps: list[Tensor],
        proposals: list[Tensor],
        scores: list[Tensor],
        image_sizes: Tensor,
        image_scales: Tensor,
    ) -> RegionDetectorOutput:
        config, predictor = self.config, self.roi_heads.box_predictor
        counts = [len(b) for b in proposals]
        features = self._features(maps, proposals)
        logits, deltas = predictor(features)
        attributes = predictor.attributes(features, logits.argmax(dim=1))
        original_sizes = image_sizes / image_scales
        pred_boxes, originals = [], []
        for moves, reference, scale, size in zip(
            deltas.split(counts), proposals, image_scales, original_sizes, strict=True
        ):
            reference = reference / _as_box(scale)
            refined = decode_boxes(moves, reference[:, None], weights=config.box_weights, plus_one=config.plus_one)
            pred_boxes.append(clip_boxes(refined, *size.tolist(), plus_one=config.plus_one))
            originals.append(reference)
        pad = nn.utils.rnn.pad_sequence
        ones = [torch.ones(count, dtype=torch.long, device=logits.device) for count in counts]
        return RegionDetectorOutput(
            logits=pad(logits.split(counts), batch_first=True),
            pred_boxes=pad(pred_boxes, batch_first=True),
            proposals=pad(originals, batch_first=True),
            proposal_mask=pad(ones, batch_first=True),
            proposal_scores=pad([score.sigmoid() for score in scores], batch_first=True),
            features=pad(features.float().split(counts), batch_first=True),
            attribute_logits=None if attributes is None else pad(attributes.split(counts), batch_first=True),
            image_sizes=original_sizes,
        )


def _image_sizes(pixel_values: Tensor, pixel_mask: Tensor | None) -> Tensor:
    """Return (B, 2) float32, height and width without padding."""
    if pixel_mask is None:
        size = torch.tensor(pixel_values.shape[-2:], dtype=torch.float32, device=pixel_values.device)
        return size.expand(len(pixel_values), 2)
    return torch.stack([pixel_mask.amax(dim=2).sum(dim=1), pixel_mask.amax(dim=1).sum(dim=1)], dim=1).float()


def _as_box(scale: Tensor) -> Tensor:
    """Return (x, y, x, y) of (y, x)."""
    return scale.flip(0).repeat(2)


__all__ = ["RegionDetector", "RegionDetectorOutput"]
