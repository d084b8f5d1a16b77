"""Region features of BUA R-101 at 600 x 800: where the time goes, how near to a matrix product, against a plain loop.

    python benchmarks/regions.py                       # minutes on 2 cores
    python benchmarks/regions.py --images 1 --rounds 1

Random weights of the published size, 300 proposals, 1600 classes. Same weights in both ways, same regions (checked).
"""

import argparse
import copy
import time

import numpy as np
import torch
from alternate import alternate, ratio
from PIL import Image
from plain.detector import plain_regions
from torch.profiler import ProfilerActivity, profile
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig, RegionImageProcessor
from wenlan.processing.regions import RegionFeatureExtractor

POOLING = ("roi_pool", "roi_align", "max_pool2d", "mean")
CONVOLUTION = ("convolution", "conv2d", "addmm", "linear")  # the predictors are matrix products too


def build_model() -> RegionDetector:
    """Return BUA R-101 with random weights whose scores vary, so that there is something to choose."""
    model = RegionDetector(RegionDetectorConfig.from_variant("bua")).eval()
    torch.nn.init.normal_(model.proposal_generator.rpn_head.objectness_logits.weight, std=0.05)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.005)
    return model


def make_fast(model: RegionDetector, processor: RegionImageProcessor, dtype: torch.dtype) -> RegionFeatureExtractor:
    """Return the extractor as `from_pretrained` makes it."""
    fast = copy.deepcopy(model)
    fast.fold_batch_norms()
    return RegionFeatureExtractor(fast.to(dtype=dtype, memory_format=torch.channels_last), processor, model_hash="-")


def print_fractions(extractor: RegionFeatureExtractor, images: list[Image.Image]) -> None:
    """Print which part of the time is neither a convolution nor the pooling."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        extractor.extract(images)
    fractions = {"convolutions and matrix products": 0.0, "pooling": 0.0, "the rest": 0.0}
    rest = {}
    for event in profiler.key_averages():
        name, seconds = event.key.lower(), event.self_cpu_time_total / 1e6
        kind = "the rest"
        if any(part in name for part in POOLING):
            kind = "pooling"
        elif any(part in name for part in CONVOLUTION):
            kind = "convolutions and matrix products"
        else:
            rest[event.key] = seconds
        fractions[kind] += seconds
    total = sum(fractions.values())
    for kind, seconds in fractions.items():
        print(f"{kind}: {seconds / total:.1%} of {total:.1f} s")
    largest = sorted(rest.items(), key=lambda item: -item[1])[:6]
    print("largest of the rest: " + ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in largest))


@torch.inference_mode()
def print_head_rate(extractor: RegionFeatureExtractor, boxes: int, rounds: int) -> None:
    """Print the rate of the res5 head against plain matrix products of the same sizes."""
    config, head = extractor.config, extractor.model.roi_heads
    size = config.pooler_size
    pooled = torch.randn(boxes, config.res2_channels * 4, size, size).to(memory_format=torch.channels_last)
    rows = boxes * size * size
    products = []
    for block in head.res5:
        for conv in (block.conv1, block.conv2, block.conv3, *([block.shortcut] if block.shortcut else [])):
            depth = conv.in_channels * conv.kernel_size[0] ** 2
            products.append((torch.randn(rows, depth), torch.randn(depth, conv.out_channels)))
    macs = sum(a.shape[0] * a.shape[1] * b.shape[1] for a, b in products)
    seconds = alternate(
        {"head": lambda: head.features(pooled), "matmul": lambda: [a @ b for a, b in products]}, rounds=rounds
    )
    rates = {name: macs / min(values) / 1e9 for name, values in seconds.items()}
    print(
        f"res5 on {boxes} boxes, {macs / 1e9:.0f} GMAC: {rates['head']:.0f} GMAC/s against {rates['matmul']:.0f} of "
        f"matrix products: {rates['head'] / rates['matmul']:.0%} (fastest of {rounds} rounds)"
    )


def main() -> None:
    """Print fractions, rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    noise = np.random.default_rng(0)
    small = [noise.integers(0, 256, (15, 20, 3), dtype=np.uint8) for _ in range(args.images)]
    images = [Image.fromarray(pixels).resize((800, 600), Image.Resampling.BICUBIC) for pixels in small]
    model, processor = build_model(), RegionImageProcessor.from_variant("bua")
    ours, half = (make_fast(model, processor, dtype) for dtype in (torch.float32, torch.bfloat16))

    def plain() -> list[tuple[torch.Tensor, torch.Tensor]]:
        with torch.inference_mode():
            return plain_regions(model, processor, images)

    regions = ours.extract(images)
    for index, (boxes, features) in enumerate(plain()):
        assert int(regions.attention_mask[index].sum()) == len(boxes)
        torch.testing.assert_close(regions.boxes[index, : len(boxes)], boxes, atol=1e-2, rtol=0)
        largest = features.abs().max().item()
        torch.testing.assert_close(regions.features[index, : len(boxes)], features, atol=1e-3 * largest, rtol=0)
    print(f"{args.images} images of 600 x 800, {regions.attention_mask.sum(1).tolist()} regions, the same both ways")
    print_fractions(ours, images)
    print_head_rate(ours, 64, args.rounds * 2)
    started = time.perf_counter()
    ways = {"plain": plain, "ours": lambda: ours.extract(images), "half": lambda: half.extract(images)}
    seconds = alternate(ways, rounds=args.rounds)
    for name, label in (("ours", "ours in float32"), ("half", "ours in bfloat16")):
        print(f"{label}: {ratio(seconds['plain'], seconds[name])}, {min(seconds[name]) / args.images:.1f} s an image")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
