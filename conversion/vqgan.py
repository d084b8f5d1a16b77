"""Convert a VQGAN of taming-transformers to a folder that `diffusers.VQModel.from_pretrained` opens.

    wenlan convert vqgan last.ckpt --output vqgan
    wenlan convert vqgan last.ckpt --config model.yaml --output vqgan

The result computes what the original computes, with the same codes. Sizes are read from the shapes of the weights;
what these do not say, the size of the images, --config says. The discriminator and the other networks of the loss are
left out. The Gumbel variant is another model.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml
from torch import Tensor

from ..data.files.bounded import read_bounded_text
from ..data.files.checkpoint import non_finite_names, read_checkpoint, unwrap_weights
from ..data.files.safe_pickle import UnsafePickleError
from ..pipelines.vqgan import decode_codes, encode_images, open_vqgan, reduction, vqgan_class
from .folder import list_dropped, name_file, refuse_existing, write_folder

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel

GUMBEL = ("quantize.embed.weight", "quantize.proj.weight")
NORM_GROUPS = 32  # of every group norm of taming's; no shape says it
IMAGE_SIZE = 256  # of the released VQGANs
NAMED = 5  # keys that a message names

# Parts of names, taming's and diffusers'; {} is a number. The decoder counts its levels from the lowest here.
LAYERS = {
    r"mid\.block_1\.": "mid_block.resnets.0.",
    r"mid\.block_2\.": "mid_block.resnets.1.",
    r"mid\.attn_1\.": "mid_block.attentions.0.",
    r"\.block\.(\d+)\.": r".resnets.\1.",
    r"\.attn\.(\d+)\.": r".attentions.\1.",
    r"\.nin_shortcut\.": ".conv_shortcut.",
    r"\.downsample\.conv\.": ".downsamplers.0.conv.",
    r"\.upsample\.conv\.": ".upsamplers.0.conv.",
    r"\.norm_out\.": ".conv_norm_out.",
}
IN_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
STRIP = "python -c \"import torch; torch.save(torch.load(r'{}', 'cpu', weights_only=False)['state_dict'], 'vqgan.pt')\""


def rename(name: str, *, levels: int) -> str:
    """Return the name in `diffusers.VQModel` of a weight of taming's VQGAN with so many levels.

    >>> rename("decoder.up.4.attn.2.proj_out.weight", levels=5)
    'decoder.up_blocks.0.attentions.2.to_out.0.weight'
    """
    name = re.sub(r"^encoder\.down\.(\d+)", r"encoder.down_blocks.\1", name)
    name = re.sub(r"^decoder\.up\.(\d+)", lambda found: f"decoder.up_blocks.{levels - 1 - int(found[1])}", name)
    for pattern, replacement in LAYERS.items():
        name = re.sub(pattern, replacement, name)
    return re.sub(
        r"(\.attentions\.\d+\.)(norm|q|k|v|proj_out)\.", lambda found: f"{found[1]}{IN_ATTENTION[found[2]]}.", name
    )


def map_weights(weights: Mapping[str, object]) -> tuple[dict[str, Tensor], Counter[str]]:
    """Return the weights by their names in `diffusers.VQModel`, in float32, and the counts of what was left out.

    Raises:
        ValueError: they are of the Gumbel variant, or of something else.
    """
    if gumbel := [name for name in GUMBEL if name in weights]:
        raise ValueError(
            f"it is a VQGAN with Gumbel quantization ({', '.join(gumbel)}), which diffusers.VQModel does not have; "
            "give one with a codebook, quantize.embedding.weight, such as vqgan_imagenet_f16_16384."
        )
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    dropped = Counter("loss.*" for name in tensors if name.startswith("loss."))
    tensors = {name: value for name, value in tensors.items() if not name.startswith("loss.")}
    levels = count(r"encoder\.down\.(\d+)\.", tensors)
    if not levels or "quantize.embedding.weight" not in tensors:
        found = ", ".join(list(tensors)[:NAMED]) or "no weights"
        raise ValueError(f"it holds no VQGAN of taming-transformers but {found}; give its last.ckpt.")
    mapped = {}
    for name, value in tensors.items():
        new = rename(name, levels=levels)
        is_pointwise = re.search(r"\.attentions\.\d+\.to_\w+(\.0)?\.weight$", new) and value.ndim == 4
        mapped[new] = (value[:, :, 0, 0] if is_pointwise else value).float()
    if broken := non_finite_names(mapped.items()):
        raise ValueError(f"the weights are damaged, not all are numbers: {', '.join(broken[:NAMED])}; fetch it again.")
    return mapped, dropped


def count(pattern: str, names: Mapping[str, object]) -> int:
    """Return one more than the largest number that a pattern finds at the beginning of names, 0 without any."""
    return max((int(found[1]) + 1 for name in names if (found := re.match(pattern, name))), default=0)


def guess_config(weights: Mapping[str, Tensor], *, image_size: int = IMAGE_SIZE) -> dict[str, object]:
    """Return the configuration of `diffusers.VQModel` that weights with its names have the shapes of.

    Raises:
        ValueError: there is no such, with a weight that is missing.
    """
    levels = count(r"encoder\.down_blocks\.(\d+)\.", weights)

    def kinds(part: str, without: str, attending: str) -> tuple[str, ...]:
        attends = (any(name.startswith(f"{part}.{level}.attentions.") for name in weights) for level in range(levels))
        return tuple(attending if one else without for one in attends)

    try:
        codes, code_channels = weights["quantize.embedding.weight"].shape
        return {
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": kinds("encoder.down_blocks", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
            "up_block_types": kinds("decoder.up_blocks", "UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
            "block_out_channels": tuple(
                weights[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)
            ),
            "layers_per_block": count(r"encoder\.down_blocks\.0\.resnets\.(\d+)\.", weights),
            "latent_channels": weights["quant_conv.weight"].shape[1],
            "vq_embed_dim": code_channels,
            "num_vq_embeddings": codes,
            "norm_num_groups": NORM_GROUPS,
            "sample_size": image_size,
        }
    except KeyError as error:
        raise ValueError(f"the weight {error.args[0]} is missing; it is cut, or of another model.") from error


def read_taming_config(path: Path, config: Mapping[str, object]) -> int:
    """Return the size of the images that a YAML of taming's says.

    Args:
        path: of the YAML.
        config: what the weights say, which must agree.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none of a VQGAN, or that of another one.
    """
    try:
        params = yaml.safe_load(read_bounded_text(path, max_bytes=1 << 20))["model"]["params"]
        details = params["ddconfig"]
        widths = [int(details["ch"]) * int(factor) for factor in details["ch_mult"]]
        said = {
            "block_out_channels": widths,
            "layers_per_block": details["num_res_blocks"],
            "latent_channels": details["z_channels"],
            "in_channels": details["in_channels"],
            "out_channels": details["out_ch"],
            "vq_embed_dim": params["embed_dim"],
            "num_vq_embeddings": params["n_embed"],
        }
        image_size = int(details["resolution"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}; give taming's YAML of the VQGAN, or none.") from error
    except (KeyError, TypeError, ValueError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no configuration of taming's VQGAN ({type(error).__name__}: {told}).") from error
    for name, value in said.items():
        ours = list(config[name]) if isinstance(config[name], tuple) else config[name]  # type: ignore[call-overload]
        if value != ours:
            raise ValueError(f"{path} is of another VQGAN: {name} is {value} there and {ours} in the weights.")
    return image_size


def build_vqgan(weights: Mapping[str, Tensor], config: Mapping[str, object]) -> "VQModel":
    """Return the VQGAN, in evaluation mode.

    Raises:
        ValueError: weights are missing, unexpected or of another shape; they are named.
    """
    try:
        model = vqgan_class()(**config)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"diffusers.VQModel cannot be of such sizes: {' '.join(str(error).split())[:200]}.") from error
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    faults = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name]),
    }
    if any(faults.values()):
        told = [
            f"{len(names)} {fault}: {', '.join(names[:NAMED])}{' ...' if len(names) > NAMED else ''}"
            for fault, names in faults.items()
            if names
        ]
        raise ValueError(f"its weights are not those of a VQGAN that diffusers.VQModel has, {'; '.join(told)}.")
    model.load_state_dict(dict(weights))
    return model.eval()


@torch.inference_mode()
def check_folder(folder: Path, model: "VQModel") -> None:
    """Open the folder as a user would, encode and decode a made-up image.

    Raises:
        ValueError: codes or pixels are not those of the model in memory.
    """
    opened, size = open_vqgan(folder), 4 * reduction(model)
    ramp = torch.linspace(0, 1, size)
    image = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), (ramp + ramp[:, None]) % 1])[None]
    codes = encode_images(model, image)
    if not torch.equal(encode_images(opened, image), codes):
        raise ValueError("What was saved is not what was converted: the codes of a made-up image differ.")
    if not torch.equal(decode_codes(opened, codes), decode_codes(model, codes)):
        raise ValueError("What was saved is not what was converted: the pixels of a made-up image differ.")


def convert_vqgan(checkpoint: Path, output_dir: Path, *, config_file: Path | None = None) -> Path:
    """Write a VQGAN of taming-transformers as a folder of `diffusers.VQModel`, check and return the folder.

    Args:
        checkpoint: the original's .ckpt, or its state dict as .pt or .safetensors.
        output_dir: the folder to write; it must not exist or be empty, and appears only when complete.
        config_file: taming's YAML; it must agree with the weights.

    Raises:
        ImportError: diffusers is not installed.
        OSError, ValueError: for files that cannot be read or do not fit; nothing is written then.
    """
    refuse_existing(output_dir)
    vqgan_class()
    try:
        weights = unwrap_weights(read_checkpoint(checkpoint))
    except ValueError as error:
        if not isinstance(error.__cause__, UnsafePickleError):
            raise
        strip = STRIP.format(checkpoint)
        raise ValueError(f"{error} Only if you trust who made it, take its weights out: {strip}") from error
    with name_file(checkpoint):
        mapped, dropped = map_weights(weights)
        config = guess_config(mapped)
    if config_file is not None:
        config["sample_size"] = read_taming_config(config_file, config)
    with name_file(checkpoint):
        model = build_vqgan(mapped, config)
    codes = f"{config['num_vq_embeddings']:,} codes of {reduction(model)} x {reduction(model)} pixels"
    return write_folder(
        output_dir,
        model,
        lambda folder: None,
        lambda folder: check_folder(folder, model),
        summary=[f" with {codes}, checked: opened again, it encodes and decodes the same.", list_dropped(dropped)],
        following=f"wenlan generate runs/quickstart --vqgan {output_dir} --texts 猫",
    )


__all__ = [
    "build_vqgan",
    "check_folder",
    "convert_vqgan",
    "count",
    "guess_config",
    "map_weights",
    "read_taming_config",
    "rename",
]
