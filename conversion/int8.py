"""Export the text tower of a BriVL with int8 weights, and measure how far its embeddings turn.

    wenlan export int8 runs/quickstart --output runs/int8
    wenlan export int8 MODEL --output runs/int8 --sentences my_captions.txt

text_tower.int8.onnx has the inputs and output of text_tower.onnx (see `export_onnx`). Its weights are int8, token
embeddings included; activations become int8 as they come (dynamic quantisation), so nothing is calibrated.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..data.emoji7.dataset import training_texts
from ..data.files.atomic import atomic_files
from ..data.files.json_files import write_json
from ..pipelines.embedding import embed_texts
from ..pipelines.open_brivl import open_brivl
from ..processing.processing_brivl import BriVLProcessor
from .onnx import export_text_tower, require_onnx

NAME = "text_tower.int8.onnx"
BATCH_SIZE = 64


@dataclass
class Int8Report:
    """Cosine between the int8 and the float32 embedding of the same sentence, and the sizes of both files in bytes."""

    sentences: int
    cosine_mean: float
    cosine_min: float
    worst_sentence: str
    float32_bytes: int
    int8_bytes: int

    def __str__(self) -> str:
        return (
            f"{NAME}: {self.int8_bytes / 1e6:.1f} MB, float32 {self.float32_bytes / 1e6:.1f} MB.\n"
            f"Cosine between int8 and float32 over {self.sentences} sentences: "
            f"mean {self.cosine_mean:.5f}, min {self.cosine_min:.5f} ({self.worst_sentence})"
        )


def quantize_text_tower(model: str, output: Path, *, sentences: Sequence[str] | None = None) -> Int8Report:
    """Write text_tower.int8.onnx, the report as text_tower.int8.json, and the processor into a folder.

    Args:
        model: folder or hub id.
        output: the folder; its files appear only when all are finished.
        sentences: what the cosine is measured on. None: every Chinese name and keyword of emoji7's seen concepts.

    Raises:
        ImportError: without the extra `onnx`.
        ValueError: for no sentence, a blank one, or embeddings that are not finite.
    """
    require_onnx()
    sentences = list(dict.fromkeys(training_texts("zh") if sentences is None else sentences))
    brivl, processor = open_brivl(model)
    expected = embed_texts(brivl, processor, sentences)
    with atomic_files(output, last=NAME) as unfinished:
        float32, path = unfinished / "float32.onnx", unfinished / NAME
        export_text_tower(brivl, float32)
        quantize(float32, path)
        cosines = F.cosine_similarity(embed_with_onnx(path, processor, sentences), expected)
        if not cosines.isfinite().all():
            raise ValueError(f"The int8 embedding of {sentences[cosines.isfinite().int().argmin()]!r} is not finite.")
        report = Int8Report(
            len(sentences),
            cosines.mean().item(),
            cosines.min().item(),
            sentences[cosines.argmin()],
            float32.stat().st_size,
            path.stat().st_size,
        )
        float32.unlink()
        write_json(path.with_suffix(".json"), asdict(report))
        processor.save_pretrained(unfinished)
    return report


def quantize(float32: Path, int8: Path) -> None:
    """Write an ONNX file with int8 weights.

    Seven of the eight bits are used: with eight, processors without VNNI saturate and the embeddings differ from one
    machine to the next.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = int8.with_name("prepared.onnx")
    quant_pre_process(float32, prepared, skip_symbolic_shape=True)
    quantize_dynamic(prepared, int8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    prepared.unlink()


def embed_with_onnx(path: str | PathLike, processor: BriVLProcessor, sentences: Sequence[str]) -> torch.Tensor:
    """Return the embeddings (n, d) of n sentences by the text tower of an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = [sentences[start : start + BATCH_SIZE] for start in range(0, len(sentences), BATCH_SIZE)]
    rows = [session.run(None, dict(processor(text=batch, return_tensors="np")))[0] for batch in batches]
    return torch.from_numpy(np.concatenate(rows))


__all__ = ["NAME", "Int8Report", "embed_with_onnx", "quantize", "quantize_text_tower"]
