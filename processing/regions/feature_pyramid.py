"""The feature maps that boxes are looked for on: the last map of a backbone, or a pyramid over several.

Source: spec of the region features, section 7 (names of the pyramid) and detectron2's FPN.
"""

import math

import timm
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_region_detector import RegionDetectorConfig
from .resnet_backbone import ResNetBackbone


class TimmBackbone(nn.Module):
    """The feature maps of a timm model; its batch norms always use their stored statistics."""

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        self.body = timm.create_model(
            config.backbone, pretrained=False, features_only=True, out_indices=tuple(config.timm_out_indices)
        )
        self.strides: list[int] = self.body.feature_info.reduction()
        self.channels: list[int] = self.body.feature_info.channels()

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Sets the mode of training for everything but the batch norms."""
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Returns the maps, fine to coarse: (B, C, H / stride, W / stride)."""
        return self.body(pixel_values)


class FeaturePyramid(nn.Module):
    """The maps of `bottom_up` at one width, each with what the coarser ones know.

    Levels are named by the logarithm of their stride: `fpn_lateral4` is of stride 16.
    """

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        self.bottom_up = ResNetBackbone(config) if config.backbone == "resnet" else TimmBackbone(config)
        self.names = [str(int(math.log2(stride))) for stride in self.bottom_up.strides]
        for name, channels in zip(self.names, self.bottom_up.channels, strict=True):
            self.add_module(f"fpn_lateral{name}", nn.Conv2d(channels, config.fpn_channels, 1))
            self.add_module(f"fpn_output{name}", nn.Conv2d(config.fpn_channels, config.fpn_channels, 3, padding=1))
        extra = config.num_levels - len(self.names)
        if extra not in (0, 1):
            raise ValueError(
                f"anchor_sizes has {config.num_levels} levels for {len(self.names)} feature maps; "
                "give one list of sizes a map, and at most one more for the coarsest map at half its size."
            )
        self.num_pooled_levels = len(self.names)  # the extra level only proposes
        self.strides = self.bottom_up.strides + [2 * self.bottom_up.strides[-1]] * extra
        self.channels = [config.fpn_channels] * config.num_levels

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Returns one (B, fpn_channels, H / stride, W / stride) a level, fine to coarse."""
        levels: list[Tensor] = []
        above = None
        for name, x in zip(reversed(self.names), reversed(self.bottom_up(pixel_values)), strict=True):
            lateral = getattr(self, f"fpn_lateral{name}")(x)
            above = (
                lateral if above is None else lateral + F.interpolate(above, size=lateral.shape[-2:], mode="nearest")
            )
            levels.insert(0, getattr(self, f"fpn_output{name}")(above))
        if len(self.strides) > len(levels):
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return levels


def build_backbone(config: RegionDetectorConfig) -> nn.Module:
    """Returns the module that gives the feature maps; it has `strides` and `channels`, one a map."""
    if config.fpn_channels is not None:
        return FeaturePyramid(config)
    return ResNetBackbone(config) if config.backbone == "resnet" else TimmBackbone(config)


__all__ = ["FeaturePyramid", "TimmBackbone", "build_backbone"]
