"""The four losses of a Faster R-CNN, and the fifth of its attributes; in float32 whatever comes in.

*labels*: one dictionary an image with `boxes` (G, 4), x1 y1 x2 y2 in pixels of the network's input, `class_labels`
(G,) from 0 without background, and for the attribute loss `attributes` (G, M) padded with -1. An image may have none.

Source: spec of the region features, section 9 (detectron2's losses: binary cross entropy and plain L1).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import encode_boxes
from .configuration_region_detector import RegionDetectorConfig
from .matching import label_boxes, sample_boxes
from .rpn import RPN_BOX_WEIGHTS


def rpn_losses(
    anchors: Tensor,
    objectness: Tensor,
    deltas: Tensor,
    labels: Sequence[dict[str, Tensor]],
    config: RegionDetectorConfig,
) -> dict[str, Tensor]:
    """Return "loss_rpn_cls" and "loss_rpn_loc", both divided by the configured sample size of all images.

    Args:
        anchors: (N, 4) of all levels.
        objectness: (B, N) logits of object minus background.
        deltas: (B, N, 4).
    """
    low, high = config.rpn_iou_thresholds
    picked, picked_positive, targets = [], [], []
    for index, label in enumerate(labels):
        gt_boxes = label["boxes"]
        matches, signs = label_boxes(
            anchors, gt_boxes, low=low, high=high, allow_low_quality=True, plus_one=config.plus_one
        )
        positive, negative = sample_boxes(
            signs, size=config.rpn_batch_size, positive_fraction=config.rpn_positive_fraction
        )
        matched = gt_boxes[matches[positive]].float()
        targets.append(encode_boxes(anchors[positive], matched, weights=RPN_BOX_WEIGHTS, plus_one=config.plus_one))
        offset = index * len(anchors)
        picked_positive.append(offset + positive)
        picked += [offset + positive, offset + negative]
    positives, sample = torch.cat(picked_positive), torch.cat(picked)
    scores = objectness.flatten()
    is_object = scores.new_zeros(len(scores), dtype=torch.float32).index_fill_(0, positives, 1.0)
    loss_cls = F.binary_cross_entropy_with_logits(scores[sample].float(), is_object[sample], reduction="sum")
    loss_loc = F.l1_loss(deltas.flatten(0, 1)[positives].float(), torch.cat(targets), reduction="sum")
    size = config.rpn_batch_size * len(labels)
    return {"loss_rpn_cls": loss_cls / size, "loss_rpn_loc": loss_loc / size}


@torch.no_grad()
def sample_proposals(
    proposals: list[Tensor], labels: Sequence[dict[str, Tensor]], config: RegionDetectorConfig
) -> list[dict[str, Tensor]]:
    """Return one dictionary an image of the S boxes that the head learns from, ground truth among them.

    `boxes` (S, 4); `class_labels` (S,) columns of the class logits, background included; `gt_boxes` (S, 4), meaningless
    for background; and, if labels and detector have them, `attributes` (S, M) from 0, -1 = none, background has none.

    Args:
        proposals: (n, 4) an image, in the pixels of the labels.

    Raises:
        ValueError: a class or an attribute that the model does not have.
    """
    samples = []
    for boxes, label in zip(proposals, labels, strict=True):
        gt_boxes, classes = label["boxes"].float(), label["class_labels"]
        attributes = label.get("attributes") if config.num_attributes else None
        _check_range("class_labels", classes, 0, config.num_objects)
        boxes = torch.cat([boxes.float(), gt_boxes])
        overlap = config.roi_iou_threshold
        matches, signs = label_boxes(
            boxes, gt_boxes, low=overlap, high=overlap, allow_low_quality=False, plus_one=config.plus_one
        )
        positive, negative = sample_boxes(
            signs, size=config.roi_batch_size, positive_fraction=config.roi_positive_fraction
        )
        kept, matched = torch.cat([positive, negative]), matches[positive]
        columns = classes.new_full((len(kept),), config.background_index)
        columns[: len(positive)] = classes[matched] + int(config.background_first)
        targets = boxes[kept]
        targets[: len(positive)] = gt_boxes[matched]
        sample = {"boxes": boxes[kept], "class_labels": columns, "gt_boxes": targets}
        if attributes is not None:
            _check_range("attributes", attributes, -1, config.num_attributes)
            sample["attributes"] = attributes.new_full((len(kept), attributes.shape[1]), -1)
            sample["attributes"][: len(positive)] = attributes[matched]
        samples.append(sample)
    return samples


def head_losses(
    class_logits: Tensor,
    box_deltas: Tensor,
    samples: list[dict[str, Tensor]],
    config: RegionDetectorConfig,
    attribute_logits: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return "loss_cls" (mean over all boxes), "loss_box_reg" (of the true class's box) and "loss_attribute".

    Args:
        class_logits: (S, K + 1) of the boxes of all samples, one after the other.
        box_deltas: (S, C, 4), C = K + 1 if the background is first, else K.
        samples: of `sample_proposals`.
        attribute_logits: (S, A + 1), of the true class's embedding; without them there is no attribute loss.
    """
    classes = torch.cat([sample["class_labels"] for sample in samples])
    boxes = torch.cat([sample["boxes"] for sample in samples])
    gt_boxes = torch.cat([sample["gt_boxes"] for sample in samples])
    size = max(len(classes), 1)
    positive = (classes != config.background_index).nonzero()[:, 0]
    targets = encode_boxes(boxes[positive], gt_boxes[positive], weights=config.box_weights, plus_one=config.plus_one)
    predicted = box_deltas[positive, classes[positive]].float()
    losses = {
        "loss_cls": F.cross_entropy(class_logits.float(), classes, reduction="sum") / size,
        "loss_box_reg": F.l1_loss(predicted, targets, reduction="sum") / size,
    }
    if attribute_logits is not None:
        loss = attribute_loss(attribute_logits, samples, config)
        losses["loss_attribute"] = config.attribute_loss_weight * loss
    return losses


def attribute_loss(attribute_logits: Tensor, samples: list[dict[str, Tensor]], config: RegionDetectorConfig) -> Tensor:
    """Return the cross entropy, averaged over the attributes of a box and then over the boxes that have some."""
    logits = attribute_logits.float()
    none = [logits.new_full((len(sample["boxes"]), 1), -1, dtype=torch.long) for sample in samples]
    wanted = [sample.get("attributes", empty) for sample, empty in zip(samples, none, strict=True)]
    width = max(attributes.shape[1] for attributes in wanted)
    targets = torch.cat([F.pad(attributes, (0, width - attributes.shape[1]), value=-1) for attributes in wanted])
    targets = targets[:, : config.max_attributes]
    given = targets >= 0
    columns = torch.where(given, targets + int(config.background_first), 0)
    loss = -logits.log_softmax(dim=-1).gather(1, columns) * given  # (S, M)
    counts = given.sum(dim=1)
    return (loss.sum(dim=1) / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


def _check_range(name: str, values: Tensor, smallest: int, size: int) -> None:
    if values.numel() and not (smallest <= values.min() and values.max() < size):
        found = f"{values.min().item()} to {values.max().item()}"
        raise ValueError(f"{name} has values from {found}; the model knows {smallest} to {size - 1}.")


__all__ = ["attribute_loss", "head_losses", "rpn_losses", "sample_proposals"]
