"""The towers of BriVL 1.0 against a plain port of the original: region pooling, image tower, text tower.

    python benchmarks/towers.py                      # about three minutes on 2 cores
    python benchmarks/towers.py --image_size 380 --batch_size 2

Same weights (random), same outputs (checked to 1e-5), ratios of runs in turn in one process.
"""

import argparse
import copy
import random

import torch
from alternate import alternate, ratio
from plain.brivl import plain_image_features, plain_region_projection
from wenlan.data import draw_text, load_emoji7, training_texts
from wenlan.modeling_brivl import BriVLConfig, BriVLTextModel, BriVLVisionModel
from wenlan.modeling_brivl.region_pooling import pool_regions
from wenlan.processing import build_character_tokenizer


def random_boxes(batch_size: int, count: int, image_size: int) -> torch.Tensor:
    """Return (batch_size, count, 4) boxes, the last one the whole image."""
    corners = torch.rand(batch_size, count, 2) * image_size * 0.8
    sides = (torch.rand(batch_size, count, 2) * 0.5 + 0.1) * image_size
    boxes = torch.cat([corners, (corners + sides).clamp(max=image_size)], dim=-1)
    boxes[:, -1] = torch.tensor([0, 0, image_size, image_size])
    return boxes


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Raise AssertionError for outputs that differ by 1e-5 of the largest value or more."""
    torch.testing.assert_close(actual, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


def image_tower(image_size: int, batch_size: int, rounds: int) -> None:
    """Print the ratios of region pooling and of the whole image tower with 37 boxes."""
    config = BriVLConfig.from_variant("1.0", {"vision_config": {"image_size": image_size}}).vision_config
    tower = BriVLVisionModel(config).eval()
    pixel_values = torch.randn(batch_size, 3, image_size, image_size)
    boxes = random_boxes(batch_size, config.max_regions, image_size)
    mask = torch.ones(boxes.shape[:2])
    feature_map = tower.backbone.forward_features(pixel_values)

    def ours() -> torch.Tensor:
        return tower.region_projection(pool_regions(feature_map, boxes, image_size=image_size))

    def plain() -> torch.Tensor:
        return plain_region_projection(tower, feature_map, boxes, image_size)

    assert_same(ours(), plain())
    seconds = alternate({"plain": plain, "ours": ours}, rounds=rounds * 3)
    print(f"region pooling, {tuple(feature_map.shape)} map, 37 boxes: {ratio(seconds['plain'], seconds['ours'])}")

    def whole() -> torch.Tensor:
        return tower(pixel_values, boxes, mask).pooler_output

    def plain_whole() -> torch.Tensor:
        return plain_image_features(tower, pixel_values, boxes, mask)

    assert_same(whole(), plain_whole())
    last_tower = copy.deepcopy(tower).to(memory_format=torch.channels_last)
    channels_last = pixel_values.to(memory_format=torch.channels_last)

    def whole_channels_last() -> torch.Tensor:
        return last_tower(channels_last, boxes, mask).pooler_output

    assert_same(whole_channels_last(), plain_whole())
    seconds = alternate({"plain": plain_whole, "ours": whole, "last": whole_channels_last}, rounds=rounds)
    print(f"image tower, {image_size} px, batch {batch_size}: {ratio(seconds['plain'], seconds['ours'])}")
    print(f"image tower, ours in channels_last: {ratio(seconds['plain'], seconds['last'])}")


def text_tower(batch_size: int, rounds: int) -> None:
    """Print the ratio of padding to the batch against padding to the maximum, at the lengths of emoji7's texts."""
    overrides = {"text_config": {"attend_padding": False}}
    tower = BriVLTextModel(BriVLConfig.from_variant("1.0", overrides).text_config).eval()
    tokenizer = build_character_tokenizer(training_texts("zh"), max_length=80)
    rows, draw = load_emoji7()["train"].remove_columns("image"), random.Random(0)
    texts = [draw_text(rows[draw.randrange(len(rows))], draw) for _ in range(batch_size)]
    short = tokenizer(texts, padding=True, return_tensors="pt")
    long = tokenizer(texts, padding="max_length", max_length=80, return_tensors="pt")

    def run(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return tower(batch["input_ids"], batch["attention_mask"]).pooler_output

    assert_same(run(short), run(long))
    seconds = alternate({"maximum": lambda: run(long), "batch": lambda: run(short)}, rounds=rounds)
    mean = short["attention_mask"].sum(dim=1).float().mean()
    print(
        f"text tower, {batch_size} texts of {mean:.1f} tokens, padded to {short['input_ids'].shape[1]} instead of 80: "
        f"{ratio(seconds['maximum'], seconds['batch'])}"
    )


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=228)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    with torch.inference_mode():
        image_tower(args.image_size, args.batch_size, args.rounds)
        text_tower(32, args.rounds)


if __name__ == "__main__":
    main()
