"""The way of the original, written plainly from the specification: the baseline of the benchmarks, not for use.

One image at a time, its map repeated for every box, the 1x1 convolution on every sample; a full copy of each tower
for the keys, the query pass first, the moving average tensor by tensor.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLVisionModel


def plain_region_projection(tower: BriVLVisionModel, feature_map: Tensor, boxes: Tensor, image_size: int) -> Tensor:
    """Return the region vectors after the 1x1 convolution: (b, n, c)."""
    height, width = feature_map.shape[-2:]
    scale = image_size / height
    convolution = tower.region_projection.weight[:, :, None, None]
    samples = tower.config.region_samples
    pooled = []
    for one_map, one_boxes in zip(feature_map, boxes, strict=True):
        x1, y1, x2, y2 = (one_boxes / scale).unbind(1)
        zero = torch.zeros_like(x1)
        rows = [
            torch.stack([(x2 - x1) / (width - 1), zero, (x1 + x2 - width + 1) / (width - 1)], dim=1),
            torch.stack([zero, (y2 - y1) / (height - 1), (y1 + y2 - height + 1) / (height - 1)], dim=1),
        ]
        theta = torch.stack(rows, dim=1)
        size = (len(one_boxes), len(one_map), samples, samples)
        grid = F.affine_grid(theta, size, align_corners=False)
        sampled = F.grid_sample(one_map.expand(len(one_boxes), -1, -1, -1), grid, align_corners=False)
        projected = F.conv2d(sampled, convolution, tower.region_projection.bias)
        pooled.append(projected.mean(dim=(2, 3)))
    return torch.stack(pooled)


def plain_image_features(tower: BriVLVisionModel, pixel_values: Tensor, boxes: Tensor, box_mask: Tensor) -> Tensor:
    """Return the image features (b, d) of a tower."""
    feature_map = tower.backbone.forward_features(pixel_values)
    regions = plain_region_projection(tower, feature_map, boxes, pixel_values.shape[-1])
    return tower.encoder(regions, box_mask).pooler_output


def plain_step(model: BriVLForPreTraining, batch: dict[str, Tensor]) -> Tensor:
    """Run forward and backward of one training step with two copies of everything, and return the loss."""
    image = batch["pixel_values"], batch["boxes"], batch["box_mask"]
    text = batch["input_ids"], batch["attention_mask"]
    image_queries = F.normalize(plain_image_features(model.brivl.vision_model, *image), dim=1)
    text_queries = F.normalize(model.brivl.text_model(*text).pooler_output, dim=1)
    with torch.no_grad():
        for momentum_tower, query_tower in model._towers:
            for key, query in zip(momentum_tower.parameters(), query_tower.parameters(), strict=True):
                key.data = key.data * model.config.momentum + query.data * (1 - model.config.momentum)
        image_keys = F.normalize(plain_image_features(model.momentum_vision_model, *image), dim=1)
        text_keys = F.normalize(model.momentum_text_model(*text).pooler_output, dim=1)
    loss = 0.0
    for queries, keys, queue in (
        (image_queries, text_keys, model.queue.text_keys),
        (text_queries, image_keys, model.queue.image_keys),
    ):
        positive = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, queries @ queue.clone().T], dim=1) / model.config.temperature
        loss = loss + F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    loss.backward()
    model.queue.enqueue(image_keys, text_keys)
    return loss.detach()


__all__ = ["plain_image_features", "plain_region_projection", "plain_step"]
