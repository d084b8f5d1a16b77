"""The int8 text tower against float32: time, size, and cosine at the size of the published text tower.

    python benchmarks/int8_text.py                       # random weights of the released size
    python benchmarks/int8_text.py --model runs/quickstart

Chinese names and keywords of emoji7 in batches of 32, one thread; the runtimes alternate within one process.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from alternate import alternate, ratio
from torch.nn import functional as F
from transformers import AutoProcessor, PreTrainedModel
from wenlan.conversion.int8 import quantize
from wenlan.conversion.onnx import TextTower, export_text_tower
from wenlan.data import training_texts
from wenlan.modeling_brivl import BriVLConfig, BriVLModel
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, build_character_tokenizer

BATCH_SIZE = 32


def random_model() -> tuple[PreTrainedModel, BriVLProcessor]:
    """Return the released text tower (base, 12 + 4 layers) with random weights, and a small image tower."""
    overrides = {
        "vision_config": {"backbone": "tf_efficientnet_lite0", "image_size": 64},
        "text_config": {"attend_padding": False},
    }
    tokenizer = build_character_tokenizer(training_texts("zh"), max_length=80)
    model = BriVLModel(BriVLConfig.from_variant("nmi", overrides))
    return model.eval(), BriVLProcessor(BriVLImageProcessor(size=64), tokenizer)


def onnx_runner(path: Path) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """Return a function from a batch to embeddings that runs an ONNX file on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {k: v.numpy() for k, v in batch.items()})[0])


def embed(run: Callable, batches: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    """Return the embeddings of all batches."""
    return torch.cat([run(batch) for batch in batches])


@torch.inference_mode()
def main() -> None:
    """Print sizes, cosine and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="folder of a BriVL; else random weights of the released size")
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if args.model:
        model, processor = BriVLModel.from_pretrained(args.model).eval(), AutoProcessor.from_pretrained(args.model)
    else:
        model, processor = random_model()
    texts = list(dict.fromkeys(training_texts("zh")))[: args.sentences]
    batches = [
        dict(processor(text=texts[start : start + BATCH_SIZE], return_tensors="pt"))
        for start in range(0, len(texts), BATCH_SIZE)
    ]
    tower = TextTower(model)
    with tempfile.TemporaryDirectory() as folder:
        float32, int8 = Path(folder, "text_tower.onnx"), Path(folder, "text_tower.int8.onnx")
        export_text_tower(model, float32)
        quantize(float32, int8)
        sizes = [path.stat().st_size for path in (float32, int8)]
        runners = {"PyTorch": lambda batch: tower(**batch), "ONNX": onnx_runner(float32), "int8": onnx_runner(int8)}
    ways = {name: partial(embed, run, batches) for name, run in runners.items()}
    cosines = F.cosine_similarity(ways["int8"](), ways["PyTorch"]())
    seconds = alternate(ways, rounds=args.rounds)

    print(f"text tower: {sum(p.numel() for p in tower.parameters()) / 1e6:.1f} M parameters, {len(texts)} sentences")
    print(f"file: float32 {sizes[0] / 1e6:.1f} MB, int8 {sizes[1] / 1e6:.1f} MB, ratio {sizes[0] / sizes[1]:.2f}")
    print(f"cosine between int8 and float32: mean {cosines.mean():.5f}, min {cosines.min():.5f}")
    for name in ("PyTorch", "ONNX"):
        print(f"int8 is faster than {name} float32: {ratio(seconds[name], seconds['int8'])}")


if __name__ == "__main__":
    main()
