"""Heads on pooled boxes: the features of a region, its class, its refined box and its attributes.

Source: spec of the region features, sections 5 and 7.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import ops

from .backbone import build_stage
from .configuration_region_detector import RegionDetectorConfig

CANONICAL_LEVEL = 4  # the level of stride 16
BOXES_AT_A_TIME = 64


class FullyConnectedHead(nn.Module):
    """`fc1`, `fc2`, ... each with ReLU, over the flattened pooled box."""

    def __init__(self, config: RegionDetectorConfig, in_channels: int):
        super().__init__()
        width = in_channels * config.pooler_size**2
        self.layers = [f"fc{index}" for index in range(1, config.num_fc + 1)]
        for name in self.layers:
            self.add_module(name, nn.Linear(width, config.fc_dim))
            width = config.fc_dim

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (S, fc_dim) for (S, C, P, P)."""
        x = pooled.flatten(1)
        for name in self.layers:
            x = F.relu_(getattr(self, name)(x))
        return x


class BoxPredictor(nn.Module):
    """Class logits, box deltas and attribute logits of region features."""

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        num_classes = config.num_objects + 1
        self.num_boxes = num_classes if config.background_first else config.num_objects
        self.cls_score = nn.Linear(config.feature_dim, num_classes)
        self.bbox_pred = nn.Linear(config.feature_dim, 4 * self.num_boxes)
        self.has_attributes = config.num_attributes > 0
        if self.has_attributes:
            self.cls_embed = nn.Embedding(num_classes, config.attribute_embedding_dim)
            width = config.feature_dim + config.attribute_embedding_dim
            self.attr_linear1 = nn.Linear(width, config.attribute_hidden_dim)
            self.attr_linear2 = nn.Linear(config.attribute_hidden_dim, config.num_attributes + 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits (S, K + 1) and deltas (S, K or K + 1, 4), float32."""
        deltas = self.bbox_pred(features).float().unflatten(1, (self.num_boxes, 4))
        return self.cls_score(features).float(), deltas

    def attributes(self, features: Tensor, columns: Tensor) -> Tensor | None:
        """Return attribute logits (S, A + 1) given the column of each region's class in the class logits (S,)."""
        if not self.has_attributes:
            return None
        x = torch.cat([features, self.cls_embed(columns)], dim=1)
        return self.attr_linear2(F.relu_(self.attr_linear1(x))).float()


class RoiHeads(nn.Module):
    """Pools boxes from the feature maps and predicts what is in them.

    Args:
        strides: of the maps that boxes are pooled from, fine to coarse.
        in_channels: of each of these maps.
    """

    def __init__(self, config: RegionDetectorConfig, strides: list[int], in_channels: int):
        super().__init__()
        self.config = config
        self.strides = strides
        if config.head == "res5":
            self.res5 = build_stage(config, 5)
        else:
            self.box_head = FullyConnectedHead(config, in_channels)
        self.box_predictor = BoxPredictor(config)

    def level_of(self, boxes: Tensor) -> Tensor:
        """Return the index of the map from which each of the boxes (S, 4), in pixels of `pixel_values`, is pooled."""
        finest = self.strides[0].bit_length() - 1
        sizes = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = torch.floor(CANONICAL_LEVEL + torch.log2(sizes / self.config.canonical_box_size + 1e-8))
        return level.clamp(finest, finest + len(self.strides) - 1).long() - finest

    def forward(self, maps: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Return the features (S, D) of all boxes of all images, in order.

        Args:
            maps: one (B, C, H / stride, W / stride) for each of `strides`.
            boxes: one (n, 4) an image, in pixels of `pixel_values`.
        """
        image_ids = torch.cat([b.new_full((len(b), 1), float(index)) for index, b in enumerate(boxes)])
        rois = torch.cat([image_ids, torch.cat(boxes)], dim=1).float()
        # In float32 also in a bfloat16 model, whose numbers are 4 px apart at 1000 px.
        maps = [x.float() for x in maps]
        if torch.is_grad_enabled():
            return self.features(self.pool(maps, rois))
        # 300 boxes of 14 x 14 cells take gigabytes in res5: so a part at a time
        return torch.cat([self.features(self.pool(maps, part)) for part in rois.split(BOXES_AT_A_TIME)])

    def pool(self, maps: list[Tensor], rois: Tensor) -> Tensor:
        """Return the cells (S, C, P, P) of the boxes `rois` (S, 5): number of the image, x1, y1, x2, y2."""
        if len(maps) == 1:
            return self._pool_level(maps[0], rois, self.strides[0])
        size = self.config.pooler_size
        pooled = maps[0].new_zeros(len(rois), maps[0].shape[1], size, size)
        level_ids = self.level_of(rois[:, 1:])
        for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True)):
            (chosen,) = torch.where(level_ids == level)
            pooled = pooled.index_put((chosen,), self._pool_level(x, rois[chosen], stride))
        return pooled

    def _pool_level(self, x: Tensor, rois: Tensor, stride: int) -> Tensor:
        size = self.config.pooler_size
        if self.config.pooler == "roi_pool":
            return ops.roi_pool(x, rois, size, 1 / stride)
        return ops.roi_align(x, rois, size, 1 / stride, aligned=True)

    def features(self, pooled: Tensor) -> Tensor:
        """Return the features (S, D) of pooled boxes (S, C, P, P)."""
        pooled = pooled.to(self.box_predictor.cls_score.weight.dtype)
        if self.config.head == "fc":
            return self.box_head(pooled)
        return self.res5(pooled).mean(dim=(2, 3))


__all__ = ["BoxPredictor", "FullyConnectedHead", "RoiHeads"]
