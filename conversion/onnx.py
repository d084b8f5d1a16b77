"""Export the towers of a BriVL to ONNX, each to a file of its own that needs neither PyTorch nor this package.

    wenlan export onnx runs/quickstart --output runs/onnx
    wenlan export onnx MODEL --output runs/onnx --boxes      # detector boxes instead of the grid of the configuration

image_tower.onnx: pixel_values (b, 3, s, s) float32, with `boxes` also boxes (b, n, 4) float32 and box_mask (b, n) int64
-> image_embeds (b, d). text_tower.onnx: input_ids, attention_mask (b, l) int64 -> text_embeds (b, d). Embeddings have
unit length. b, n and l vary freely up to `max_text_length`; a model that attends to padding has this one length only.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from ..data.files.atomic import atomic_files
from ..modeling_brivl.modeling_brivl import BriVLModel
from ..pipelines.open_brivl import open_brivl

OPSET = 18  # read by every onnxruntime since 1.14
TOLERANCE = 1e-4


class ImageTower(nn.Module):
    """The function of image_tower.onnx: images to embeddings (b, d). Arguments as in `BriVLVisionModel`."""

    output_name = "image_embeds"

    def __init__(self, model: BriVLModel) -> None:
        super().__init__()
        self.tower = model.vision_model

    def forward(self, pixel_values: Tensor, boxes: Tensor | None = None, box_mask: Tensor | None = None) -> Tensor:
        """Return unit rows."""
        return F.normalize(self.tower(pixel_values, boxes, box_mask).pooler_output, dim=-1)


class TextTower(nn.Module):
    """The function of text_tower.onnx: texts to embeddings (b, d). Arguments as in `BriVLTextModel`."""

    output_name = "text_embeds"

    def __init__(self, model: BriVLModel) -> None:
        super().__init__()
        self.tower = model.text_model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit rows."""
        return F.normalize(self.tower(input_ids, attention_mask).pooler_output, dim=-1)


@dataclass
class OnnxReport:
    """The files that were written and how far each is from PyTorch."""

    folder: Path
    differences: dict[str, float]

    def __str__(self) -> str:
        lines = [f"The processor and {len(self.differences)} towers are in {self.folder} (opset {OPSET}):"]
        for name, difference in self.differences.items():
            megabytes = (self.folder / name).stat().st_size / 1e6
            lines.append(f"{name}  {megabytes:.1f} MB, largest difference to PyTorch {difference:.1e}")
        return "\n".join(lines)


def export_onnx(model: str, output: Path, *, boxes: bool = False) -> OnnxReport:
    """Write image_tower.onnx, text_tower.onnx and the processor of a BriVL into a folder.

    Args:
        model: folder or hub id.
        output: the folder. Its files appear only after both towers agree with PyTorch within 1e-4.
        boxes: the image tower takes boxes and box_mask; else it reads the grid of the configuration.

    Raises:
        ImportError: without the extra `onnx`.
        ValueError: for an ONNX file that differs from PyTorch by more.
    """
    require_onnx()
    brivl, processor = open_brivl(model)
    with atomic_files(output, last="text_tower.onnx") as unfinished:
        processor.save_pretrained(unfinished)
        differences = {
            "image_tower.onnx": export_image_tower(brivl, unfinished / "image_tower.onnx", boxes=boxes),
            "text_tower.onnx": export_text_tower(brivl, unfinished / "text_tower.onnx"),
        }
    return OnnxReport(output, differences)


def export_image_tower(model: BriVLModel, path: Path, *, boxes: bool = False) -> float:
    """Write the image tower and return its largest difference to PyTorch; see `export_onnx`."""
    sizes = [(3, model.config.vision_config.max_regions), (1, 1), (2, 3)] if boxes else [(3, 0), (1, 0)]
    batches = [_image_batch(model, *size) for size in sizes]
    batch = Dim("batch")
    regions = {0: batch, 1: Dim("regions")}
    shapes = {"pixel_values": {0: batch}} | ({"boxes": regions, "box_mask": regions} if boxes else {})
    return _export(ImageTower(model).eval(), batches, shapes, path)


def export_text_tower(model: BriVLModel, path: Path) -> float:
    """Write the text tower and return its largest difference to PyTorch; see `export_onnx`."""
    config = model.config.text_config
    longest = config.max_text_length
    lengths = [longest] * 3 if config.attend_padding else [longest, 2, (longest + 2) // 2]
    batches = [_text_batch(model, *size) for size in zip((3, 1, 5), lengths, strict=True)]
    axes = {0: Dim("batch")} | ({} if config.attend_padding else {1: Dim("length", max=longest)})
    return _export(TextTower(model).eval(), batches, {"input_ids": axes, "attention_mask": axes}, path)


def _image_batch(model: BriVLModel, count: int, regions: int) -> dict[str, Tensor]:
    """Return images of noise; with regions, boxes too, of which the last image has one."""
    side = model.config.vision_config.image_size
    generator = torch.Generator().manual_seed(count)
    batch = {"pixel_values": torch.randn(count, 3, side, side, generator=generator)}
    if regions:
        corners = side * torch.rand(count, regions, 2, 2, generator=generator).sort(dim=2).values
        mask = torch.ones(count, regions, dtype=torch.int64)
        mask[-1, 1:] = 0
        batch |= {"boxes": corners.flatten(2) * mask.unsqueeze(-1), "box_mask": mask}
    return batch


def _text_batch(model: BriVLModel, count: int, length: int) -> dict[str, Tensor]:
    """Return random tokens; the first text fills the length, the next ones are shorter and padded with 0."""
    generator = torch.Generator().manual_seed(count)
    vocabulary = model.config.text_config.encoder_config.vocab_size
    input_ids = torch.randint(vocabulary, (count, length), generator=generator)
    lengths = torch.linspace(length, min(2, length), count).long().unsqueeze(1)
    attention_mask = (torch.arange(length) < lengths).long()
    return {"input_ids": input_ids * attention_mask, "attention_mask": attention_mask}


def _export(tower: ImageTower | TextTower, batches: list[dict[str, Tensor]], shapes: dict, path: Path) -> float:
    with _quiet_exporter():
        torch.onnx.export(
            tower,
            (),
            path,
            kwargs=batches[0],
            input_names=list(batches[0]),
            output_names=[tower.output_name],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    difference = _largest_difference(tower, batches, path)
    if not difference <= TOLERANCE:  # so that NaN is refused too
        path.unlink()
        raise ValueError(f"{path.name} differs from PyTorch by {difference:.1e}, more than {TOLERANCE}; not written.")
    return difference


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide two messages about what is meant or harmless: inputs that share an axis, constants that are not folded."""
    folding = logging.getLogger("onnxscript.optimizer._constant_folding")
    level = folding.level
    folding.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*The axis name")
            yield
    finally:
        folding.setLevel(level)


@torch.inference_mode()
def _largest_difference(tower: nn.Module, batches: list[dict[str, Tensor]], path: Path) -> float:
    """Return NaN if any difference is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = []
    for batch in batches:
        (embeddings,) = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        differences.append((torch.from_numpy(embeddings) - tower(**batch)).abs().max())
    return torch.stack(differences).max().item()


def require_onnx() -> None:
    """Raise ImportError, with what to install, without the extra `onnx`."""
    if not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))):
        raise ImportError("ONNX files need further packages: pip install 'wenlan[onnx]'")


__all__ = ["OnnxReport", "TextTower", "export_image_tower", "export_onnx", "export_text_tower", "require_onnx"]
