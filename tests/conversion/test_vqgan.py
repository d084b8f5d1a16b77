"""A VQGAN of taming-transformers, small and random, against a plain computation on its own state dict."""

import json
import pickle
import sys
import zlib

import numpy as np
import pytest
import torch
import yaml
from helpers.paths import ROOT
from safetensors.torch import load_file
from torch.nn import functional as F
from typer.testing import CliRunner
from wenlan.conversion.vqgan import convert_vqgan, rename
from wenlan.pipelines.vqgan import decode_codes, encode_images, open_vqgan

from wenlan.cli.main import app

GOLDEN = ROOT / "tests" / "fixtures" / "vqgan" / "golden.safetensors"
WIDTHS, BLOCKS, LATENT, CODE, CODES = (32, 32, 64), 2, 12, 8, 24
ATTENDS = (1, 2)  # levels
CONFIG = {
    "model": {
        "params": {
            "embed_dim": CODE,
            "n_embed": CODES,
            "ddconfig": {
                **{"ch": 32, "ch_mult": [1, 1, 2], "num_res_blocks": BLOCKS, "z_channels": LATENT, "resolution": 64},
                **{"in_channels": 3, "out_ch": 3, "double_z": False, "attn_resolutions": [32, 16], "dropout": 0.0},
            },
        }
    }
}


def taming_weights():
    """Returns a random state dict with taming's names and shapes."""
    state = {}

    def conv(name, before, after, size=3):
        state[f"{name}.weight"] = torch.randn(after, before, size, size) * (before * size * size) ** -0.5
        state[f"{name}.bias"] = torch.randn(after) * 0.1

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + torch.randn(width) * 0.1, torch.randn(width) * 0.1

    def block(name, before, after):
        norm(f"{name}.norm1", before)
        conv(f"{name}.conv1", before, after)
        norm(f"{name}.norm2", after)
        conv(f"{name}.conv2", after, after)
        if before != after:
            conv(f"{name}.nin_shortcut", before, after, 1)

    def attention(name, width):
        norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", width, width, 1)

    def mid(name, width):
        block(f"{name}.mid.block_1", width, width)
        attention(f"{name}.mid.attn_1", width)
        block(f"{name}.mid.block_2", width, width)

    torch.manual_seed(3)
    conv("encoder.conv_in", 3, WIDTHS[0])
    width = WIDTHS[0]
    for level, after in enumerate(WIDTHS):
        for number in range(BLOCKS):
            block(f"encoder.down.{level}.block.{number}", width, after)
            width = after
            if level in ATTENDS:
                attention(f"encoder.down.{level}.attn.{number}", after)
        if level < len(WIDTHS) - 1:
            conv(f"encoder.down.{level}.downsample.conv", after, after)
    mid("encoder", width)
    norm("encoder.norm_out", width)
    conv("encoder.conv_out", width, LATENT)
    conv("decoder.conv_in", LATENT, width)
    mid("decoder", width)
    for level, after in reversed(list(enumerate(WIDTHS))):
        for number in range(BLOCKS + 1):
            block(f"decoder.up.{level}.block.{number}", width, after)
            width = after
            if level in ATTENDS:
                attention(f"decoder.up.{level}.attn.{number}", after)
        if level > 0:
            conv(f"decoder.up.{level}.upsample.conv", after, after)
    norm("decoder.norm_out", width)
    conv("decoder.conv_out", width, 3)
    conv("quant_conv", LATENT, CODE, 1)
    conv("post_quant_conv", CODE, LATENT, 1)
    state["quantize.embedding.weight"] = torch.randn(CODES, CODE) * 0.5
    return state


class Plain:
    """What taming's encoder and decoder compute, as equations on a state dict."""

    def __init__(self, state):
        self.state = state

    def conv(self, name, x, **options):
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state[f"{name}.bias"], **{"padding": weight.shape[-1] // 2} | options)

    def norm(self, name, x):
        return F.group_norm(x, 32, self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps=1e-6)

    def block(self, name, x):
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)))
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)))
        return h + (self.conv(f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in self.state else x)

    def attention(self, name, x):
        h = self.norm(f"{name}.norm", x)
        q, k, v = (self.conv(f"{name}.{part}", h).flatten(2) for part in "qkv")
        weights = (torch.einsum("bci,bcj->bij", q, k) * q.shape[1] ** -0.5).softmax(dim=2)
        return x + self.conv(f"{name}.proj_out", torch.einsum("bcj,bij->bci", v, weights).view_as(x))

    def mid(self, name, x):
        x = self.attention(f"{name}.mid.attn_1", self.block(f"{name}.mid.block_1", x))
        return self.block(f"{name}.mid.block_2", x)

    def end(self, name, x):
        return self.conv(f"{name}.conv_out", F.silu(self.norm(f"{name}.norm_out", x)))

    def level(self, name, x, blocks, attends):
        for number in range(blocks):
            x = self.block(f"{name}.block.{number}", x)
            x = self.attention(f"{name}.attn.{number}", x) if attends else x
        return x

    def encode(self, x):
        """Returns latents (b, c, h, w) of pixels from -1 to 1."""
        x = self.conv("encoder.conv_in", x)
        for level in range(len(WIDTHS)):
            x = self.level(f"encoder.down.{level}", x, BLOCKS, level in ATTENDS)
            if level < len(WIDTHS) - 1:
                x = self.conv(f"encoder.down.{level}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2, padding=0)
        return self.conv("quant_conv", self.end("encoder", self.mid("encoder", x)))

    def quantize(self, latents):
        codebook = self.state["quantize.embedding.weight"]
        distances = ((latents[:, None] - codebook[None, :, :, None, None]) ** 2).sum(dim=2)
        return distances.argmin(dim=1)

    def decode(self, codes):
        """Returns pixels from -1 to 1 of codes (b, h, w)."""
        x = self.state["quantize.embedding.weight"][codes].permute(0, 3, 1, 2)
        x = self.mid("decoder", self.conv("decoder.conv_in", self.conv("post_quant_conv", x)))
        for level in reversed(range(len(WIDTHS))):
            x = self.level(f"decoder.up.{level}", x, BLOCKS + 1, level in ATTENDS)
            if level > 0:
                x = self.conv(f"decoder.up.{level}.upsample.conv", F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.end("decoder", x)


@pytest.fixture(scope="module")
def weights():
    return taming_weights()


@pytest.fixture
def write(weights, tmp_path):
    """Writes a checkpoint as Lightning does, with the networks of the loss; changes are of its weights."""

    def save(**changes):
        state = weights | {"loss.discriminator.main.0.weight": torch.randn(2, 2), "loss.logvar": torch.zeros(())}
        state = {name: value for name, value in (state | changes).items() if value is not None}
        torch.save({"epoch": 3, "global_step": 5, "state_dict": state, "callbacks": {}}, tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return save


@torch.no_grad()
def test_converted_vqgan_computes_what_the_original_computes(weights, write, tmp_path, capsys):
    folder, plain = convert_vqgan(write(), tmp_path / "out"), Plain(weights)
    model, images = open_vqgan(folder), torch.rand(2, 3, 32, 48)
    latents = plain.encode(images * 2 - 1)
    # float32 in another order of additions; the spec's own measurement on the large model is 3e-6.
    assert torch.allclose(model.encode(images * 2 - 1).latents, latents, atol=1e-5)
    codes = plain.quantize(latents)
    assert codes.unique().numel() > 5
    assert torch.equal(encode_images(model, images), codes)
    pixels = plain.decode(codes)
    assert pixels.std() > 0.1
    assert torch.allclose(decode_codes(model, codes), (pixels / 2 + 0.5).clamp(0, 1), atol=2e-5)
    assert torch.allclose(model.decode(latents).sample, pixels, atol=2e-5)
    assert sum(p.numel() for p in model.parameters()) == sum(value.numel() for value in weights.values())
    assert {path.name for path in folder.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    printed = capsys.readouterr().out
    assert "with 24 codes of 4 x 4 pixels" in printed
    assert "Left out as not needed: 2 of loss.*." in printed
    assert f"wenlan generate runs/quickstart --vqgan {folder}" in printed


def stable_weights(weights):
    """Returns a state dict of the same names and shapes that no version of torch draws otherwise."""

    def draw(name, shape):
        values = torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)).float()
        if len(shape) == 1:
            return 0.1 * values + ("norm" in name and name.endswith("weight"))
        return values * (0.5 if len(shape) == 2 else values[0].numel() ** -0.5)

    return {name: draw(name, tuple(value.shape)) for name, value in weights.items()}


@torch.no_grad()
def test_converted_vqgan_gives_the_golden_codes_and_pixels(weights, write, tmp_path):
    golden = load_file(GOLDEN)  # by `Plain`
    model = open_vqgan(convert_vqgan(write(**stable_weights(weights)), tmp_path / "out"))
    torch.testing.assert_close(model.encode(golden["images"] * 2 - 1).latents, golden["latents"], atol=1e-5, rtol=0)
    assert torch.equal(encode_images(model, golden["images"]), golden["codes"])
    torch.testing.assert_close(decode_codes(model, golden["codes"]), golden["pixels"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("taming", "ours"),
    [
        ("encoder.down.1.block.0.norm1.weight", "encoder.down_blocks.1.resnets.0.norm1.weight"),
        ("encoder.down.4.attn.1.norm.bias", "encoder.down_blocks.4.attentions.1.group_norm.bias"),
        ("encoder.down.2.downsample.conv.bias", "encoder.down_blocks.2.downsamplers.0.conv.bias"),
        ("decoder.up.0.block.2.nin_shortcut.weight", "decoder.up_blocks.4.resnets.2.conv_shortcut.weight"),
        ("decoder.up.3.upsample.conv.weight", "decoder.up_blocks.1.upsamplers.0.conv.weight"),
        ("decoder.mid.block_1.conv1.bias", "decoder.mid_block.resnets.0.conv1.bias"),
        ("encoder.mid.attn_1.q.weight", "encoder.mid_block.attentions.0.to_q.weight"),
        ("encoder.mid.block_2.conv2.bias", "encoder.mid_block.resnets.1.conv2.bias"),
        ("decoder.norm_out.weight", "decoder.conv_norm_out.weight"),
        ("quant_conv.weight", "quant_conv.weight"),
        ("post_quant_conv.bias", "post_quant_conv.bias"),
        ("quantize.embedding.weight", "quantize.embedding.weight"),
    ],
)
def test_names_follow_the_rules(taming, ours):
    assert rename(taming, levels=5) == ours


def test_yaml_of_the_original_gives_the_size_of_the_images(write, tmp_path):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(CONFIG), "utf-8")
    options = ["--output", str(tmp_path / "out"), "--config", str(tmp_path / "model.yaml")]
    result = CliRunner().invoke(app, ["convert", "vqgan", str(write()), *options])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["sample_size"] == 64
    assert config["down_block_types"] == ["DownEncoderBlock2D", "AttnDownEncoderBlock2D", "AttnDownEncoderBlock2D"]
    assert config["up_block_types"] == ["AttnUpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D"]
    assert (config["block_out_channels"], config["layers_per_block"]) == ([32, 32, 64], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (yaml.safe_dump(CONFIG).replace("n_embed: 24", "n_embed: 16384"), "num_vq_embeddings is 16384 there and 24 in"),
        ("model: 3", "no configuration of taming's VQGAN"),
        ("a: [", "no configuration of taming's VQGAN"),
        (None, "There is no file"),
    ],
)
def test_yaml_of_something_else_is_refused(text, message, write, tmp_path):
    if text is not None:
        (tmp_path / "model.yaml").write_text(text, "utf-8")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        convert_vqgan(write(), tmp_path / "out", config_file=tmp_path / "model.yaml")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantize.embed.weight": torch.ones(2, 2)}, r"Gumbel quantization \(quantize\.embed\.weight\)"),
        ({"quantize.proj.weight": torch.ones(2, 2)}, r"Gumbel quantization \(quantize\.proj\.weight\)"),
        ({"decoder.mid.attn_1.q.bias": None}, r"1 missing: decoder\.mid_block\.attentions\.0\.to_q\.bias"),
        ({"encoder.down.0.extra": torch.ones(1)}, r"1 unexpected: encoder\.down_blocks\.0\.extra"),
        ({"decoder.conv_in.bias": torch.ones(3)}, r"1 of another shape: decoder\.conv_in\.bias"),
        ({"quant_conv.weight": None}, r"the weight quant_conv\.weight is missing"),
        ({"quantize.embedding.weight": None}, "holds no VQGAN of taming-transformers but"),
        ({"quant_conv.bias": torch.full((CODE,), torch.nan)}, r"damaged, not all are numbers: quant_conv\.bias"),
    ],
)
def test_other_weights_are_refused_by_name(changes, message, write, tmp_path):
    with pytest.raises(ValueError, match=rf"last\.ckpt: .*{message}"):
        convert_vqgan(write(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class RunsCode:
    def __reduce__(self):
        return print, ("it ran",)


def test_pickle_that_could_run_code_is_refused_with_how_to_strip_it(weights, tmp_path, capsys):
    torch.save({"state_dict": weights, "hparams": RunsCode()}, tmp_path / "last.ckpt", pickle_module=pickle)
    with pytest.raises(ValueError, match=r"nothing of it was run.*print.*take its weights out: python -c") as error:
        convert_vqgan(tmp_path / "last.ckpt", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert "it ran" not in capsys.readouterr().out


def test_objects_of_lightning_beside_the_weights_are_skipped(weights, tmp_path):
    import argparse

    torch.save({"state_dict": weights, "hparams": argparse.Namespace(lr=1)}, tmp_path / "last.ckpt")
    assert (convert_vqgan(tmp_path / "last.ckpt", tmp_path / "out") / "config.json").is_file()


def test_folder_that_exists_is_refused(write, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="exists already"):
        convert_vqgan(write(), tmp_path / "out")


def test_without_diffusers_the_command_says_what_to_install(write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[generation\]'"):
        convert_vqgan(write(), tmp_path / "out")
