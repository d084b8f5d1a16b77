"""The ResNet of caffe and detectron2, in detectron2's names, and the feature pyramid over its maps.

Batch norms always use their stored statistics: with a few images a step their own would be noise.
Source: spec of the region features, sections 3, 5 and 7 (names of the pyramid).
"""

import math
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

from .configuration_region_detector import RESNET_BLOCKS, RegionDetectorConfig


class FrozenNorm(FrozenBatchNorm2d):
    """torchvision's frozen batch norm, whose weight starts at `initial_weight`."""

    def __init__(self, num_features: int, eps: float, initial_weight: float):
        super().__init__(num_features, eps)
        self.initial_weight = initial_weight
        nn.init.constant_(self.weight, initial_weight)


class ConvNorm(nn.Conv2d):
    """A convolution and its frozen batch norm `norm`, which `fold` moves into the convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        eps: float = 1e-5,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        norm_weight: float = 1.0,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False)
        self.norm: FrozenNorm | None = FrozenNorm(out_channels, eps, norm_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of (B, C, H, W)."""
        x = super().forward(x)
        return x if self.norm is None else self.norm(x)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the norm into the convolution: the same result up to rounding, in one pass over memory fewer."""
        if self.norm is None:
            return
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        self.weight.mul_(scale[:, None, None, None])
        self.bias = nn.Parameter(self.norm.bias - self.norm.running_mean * scale)
        self.norm = None


class Stem(nn.Module):
    """7x7 convolution of stride 2 and a 3x3 max-pool of stride 2."""

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        self.conv1 = ConvNorm(3, config.stem_channels, 7, config.norm_eps, stride=2, padding=3)
        self.caffe_pool = config.caffe_stem_pool

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ~H/4, ~W/4)."""
        x = F.relu_(self.conv1(x))
        if self.caffe_pool:
            return F.max_pool2d(x, 3, stride=2, padding=0, ceil_mode=True)
        return F.max_pool2d(x, 3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut."""

    def __init__(
        self,
        in_channels: int,
        bottleneck_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        stride_in_1x1: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = ConvNorm(in_channels, bottleneck_channels, 1, eps, stride=stride_1x1)
        self.conv2 = ConvNorm(
            bottleneck_channels, bottleneck_channels, 3, eps, stride=stride_3x3, padding=dilation, dilation=dilation
        )
        # Where no weights are loaded: unnormalised residuals would double the activations in each of 16 to 33 blocks.
        self.conv3 = ConvNorm(bottleneck_channels, out_channels, 1, eps, norm_weight=0.2)
        changes_width = in_channels != out_channels
        self.shortcut = ConvNorm(in_channels, out_channels, 1, eps, stride=stride) if changes_width else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H / stride, W / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = F.relu_(self.conv1(x))
        x = F.relu_(self.conv2(x))
        return F.relu_(self.conv3(x).add_(shortcut))


def build_stage(config: RegionDetectorConfig, stage: int) -> nn.Sequential:
    """Return the blocks of res2 to res5 (`stage` 2 to 5); as a head, res5 has its own stride and dilation."""
    factor = 2 ** (stage - 2)
    out_channels = config.res2_channels * factor
    in_channels = config.stem_channels if stage == 2 else out_channels // 2
    stride, dilation = (1, 1) if stage == 2 else (2, 1)
    if stage == 5 and config.head == "res5":
        stride, dilation = config.res5_stride, config.res5_dilation
    blocks = [
        Bottleneck(
            in_channels if index == 0 else out_channels,
            config.bottleneck_channels * factor,
            out_channels,
            stride=stride if index == 0 else 1,
            dilation=dilation,
            stride_in_1x1=config.stride_in_1x1,
            eps=config.norm_eps,
        )
        for index in range(RESNET_BLOCKS[config.depth][stage - 2])
    ]
    return nn.Sequential(*blocks)


class ResNetBackbone(nn.Module):
    """Stem and res2 to res4, or to res5 for a head of fully connected layers."""

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        self.stem = Stem(config)
        self.stages = ["res2", "res3", "res4"] + (["res5"] if config.head == "fc" else [])
        for name in self.stages:
            self.add_module(name, build_stage(config, int(name[-1])))
        self.strides = [4 * 2**index for index in range(len(self.stages))]
        self.channels = [config.res2_channels * 2**index for index in range(len(self.stages))]

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the maps of all stages, fine to coarse: (B, C, H / stride, W / stride)."""
        x = self.stem(pixel_values)
        maps = []
        for name in self.stages:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps


def build_timm_body(config: RegionDetectorConfig) -> nn.Module:
    """Return the timm model with its own initialisation.

    Raises:
        ValueError: no such model, or no such maps.
    """
    indices = tuple(config.timm_out_indices or ())
    try:
        return timm.create_model(config.backbone, features_only=True, out_indices=indices)
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(f"No {config.backbone!r} with maps {indices} can be built: {str(error)[:200]}") from error


class TimmBackbone(nn.Module):
    """The feature maps of a timm model; its batch norms always use their stored statistics."""

    body: Any  # an nn.Module with `feature_info`, which no type names

    def __init__(self, config: RegionDetectorConfig):
        super().__init__()
        self.body = build_timm_body(config)
        self.strides: list[int] = self.body.feature_info.reduction()
        self.channels: list[int] = self.body.feature_info.channels()
        if not next(self.body.parameters()).is_meta:
            for module in self.body.modules():
                module._is_hf_initialized = True  # timm's own initialisation stays

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Set the mode of training for everything but the batch norms."""
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the maps, fine to coarse: (B, C, H / stride, W / stride)."""
        return self.body(pixel_values)


class FeaturePyramid(nn.Module):
    """The maps of `bottom_up` at one width, coarser ones added to finer ones.

    Levels are named by the logarithm of their stride: `fpn_lateral4` is of stride 16.
    """

    def __init__(self, config: RegionDetectorConfig, width: int):
        super().__init__()
        self.bottom_up = ResNetBackbone(config) if config.backbone == "resnet" else TimmBackbone(config)
        self.names = [str(int(math.log2(stride))) for stride in self.bottom_up.strides]
        for name, channels in zip(self.names, self.bottom_up.channels, strict=True):
            self.add_module(f"fpn_lateral{name}", nn.Conv2d(channels, width, 1))
            self.add_module(f"fpn_output{name}", nn.Conv2d(width, width, 3, padding=1))
        extra = config.num_levels - len(self.names)
        if extra not in (0, 1):
            raise ValueError(
                f"anchor_sizes has {config.num_levels} levels for {len(self.names)} feature maps; "
                "give one list of sizes a map, and at most one more for the coarsest map at half its size."
            )
        self.num_pooled_levels = len(self.names)  # the extra level only proposes
        self.strides = self.bottom_up.strides + [2 * self.bottom_up.strides[-1]] * extra
        self.channels = [width] * config.num_levels

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Return one (B, width, H / stride, W / stride) a level, fine to coarse."""
        levels: list[Tensor] = []
        above = None
        for name, x in zip(reversed(self.names), reversed(self.bottom_up(pixel_values)), strict=True):
            lateral = getattr(self, f"fpn_lateral{name}")(x)
            if above is not None:
                lateral = lateral + F.interpolate(above, size=lateral.shape[-2:], mode="nearest")
            above = lateral
            levels.insert(0, getattr(self, f"fpn_output{name}")(above))
        if len(self.strides) > len(levels):
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return levels


def build_backbone(config: RegionDetectorConfig) -> FeaturePyramid | ResNetBackbone | TimmBackbone:
    """Return the module that gives the feature maps; it has `strides` and `channels`, one a map."""
    if config.fpn_channels is not None:
        return FeaturePyramid(config, config.fpn_channels)
    return ResNetBackbone(config) if config.backbone == "resnet" else TimmBackbone(config)


__all__ = [
    "ConvNorm",
    "FeaturePyramid",
    "FrozenNorm",
    "ResNetBackbone",
    "TimmBackbone",
    "build_backbone",
    "build_stage",
    "build_timm_body",
]
