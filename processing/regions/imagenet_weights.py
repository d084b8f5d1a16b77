"""ImageNet weights of a ResNet, in the names of torchvision and timm, as the start of a region detector."""

import re
from collections.abc import Callable

from torch import Tensor

from ...modeling_region_detector.modeling_region_detector import RegionDetector

PARTS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^layer([1-4])\.", lambda match: f"res{int(match[1]) + 1}."),
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"bn([1-3])\.", r"conv\1.norm."),
    (r"downsample\.0\.", "shortcut."),
    (r"downsample\.1\.", "shortcut.norm."),
]


def load_imagenet_resnet(model: RegionDetector, state: dict[str, Tensor]) -> None:
    """Load the stem and all stages of a ResNet-50 or -101; its classifier has no use here.

    Such weights need `stride_in_1x1` and `caffe_stem_pool` false, and images normalised as they were trained.

    Args:
        model: with the backbone "resnet".
        state: named as in torchvision and timm.

    Raises:
        ValueError: the state dict lacks weights, has unknown ones, or has other shapes.
    """
    wanted = dict(model.named_buffers()) | dict(model.named_parameters())
    prefix = "backbone.bottom_up." if model.config.fpn_channels is not None else "backbone."
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        for pattern, replacement in PARTS:
            name = re.sub(pattern, replacement, name)
        is_head = name.startswith("res5.") and model.config.head == "res5"
        renamed[("roi_heads." if is_head else prefix) + name] = tensor
    needed = {name for name in wanted if re.search(r"\.(stem|res[2-5])\.", name)}
    wrong = sorted(needed ^ renamed.keys())
    wrong += [name for name in needed & renamed.keys() if renamed[name].shape != wanted[name].shape]
    if wrong:
        raise ValueError(f"{len(wrong)} weights are missing, unknown or of another shape: {', '.join(wrong[:5])}.")
    model.load_state_dict(renamed, strict=False)


__all__ = ["load_imagenet_resnet"]
