"""A pre-training step of MLMM: batches of like length against mixed ones, and against a plain port; padding.

    python benchmarks/mlmm.py                                      # minutes on 2 cores
    OMP_NUM_THREADS=1 python benchmarks/mlmm.py --rounds 3 --examples 64

Random weights; texts of 8 to 30 tokens with 10 to 100 regions, the numbers of UC2 and UNITER. All ways see the same
examples in batches of as many rows: forward and backward pass of MLM, no optimizer. The padding is that of the
sampler's own settings, over a whole bucket.
"""

import argparse

import numpy as np
import torch
from alternate import alternate, ratio
from plain.mlmm import plain_loss, plain_states
from torch import Tensor
from wenlan.data.mlmm.batch_sampler import padding_fraction, token_budget_batches
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining

TEXT, REGIONS = (8, 31), (10, 101)
VOCABULARY, FEATURE_DIM, CLASSES = 8000, 2048, 1601


def build_model(hidden_size: int, layers: int, dropout: float) -> MLMMForPreTraining:
    """Return a model in training."""
    config = MLMMConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
        region_feature_dim=FEATURE_DIM,
        num_region_classes=CLASSES,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return MLMMForPreTraining(config).train()


def draw_lengths(count: int) -> np.ndarray:
    """Return (count, 2): tokens and regions of each example."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(*TEXT, count), rng.integers(*REGIONS, count)], axis=1)


def make_batch(lengths: np.ndarray) -> dict[str, Tensor]:
    """Return random examples of these lengths, padded to the longest text and to the most regions."""
    generator = torch.Generator().manual_seed(int(lengths.sum()))
    (rows, _), (width, count) = lengths.shape, lengths.max(axis=0).tolist()
    tokens, regions = (torch.from_numpy(column)[:, None] for column in lengths.T)
    attention_mask, region_mask = torch.arange(width) < tokens, torch.arange(count) < regions
    ids = torch.randint(4, VOCABULARY, (rows, width), generator=generator)
    chosen = attention_mask & (torch.rand(rows, width, generator=generator) < 0.15)
    chosen[:, 0] = True
    return {
        "input_ids": ids.masked_fill(~attention_mask, 1),
        "attention_mask": attention_mask.long(),
        "region_features": torch.rand(rows, count, FEATURE_DIM, generator=generator) * region_mask[..., None],
        "region_boxes": torch.rand(rows, count, 7, generator=generator) * region_mask[..., None],
        "region_attention_mask": region_mask.long(),
        "mlm_labels": ids.masked_fill(~chosen, -100),
    }


def print_padding(buckets: int = 4) -> None:
    """Print the fraction of padding in full buckets, by length and in random order, with the sampler's settings."""
    for text, budget, bucket in (("mlmm_base", 10240, 8192), ("smaller", 2048, 2048)):
        lengths = draw_lengths(buckets * bucket).sum(axis=1)
        pools = [lengths[start : start + bucket] for start in range(0, len(lengths), bucket)]
        sorted_fraction = np.mean(
            [padding_fraction(pool, token_budget_batches(pool, token_budget=budget)) for pool in pools]
        )
        size = len(token_budget_batches(pools[0], token_budget=budget)[0])
        mixed = [np.arange(start, min(start + size, bucket)) for start in range(0, bucket, size)]
        mixed_fraction = np.mean([padding_fraction(pool, mixed) for pool in pools])
        print(
            f"padding of {budget} tokens in buckets of {bucket} ({text}): {sorted_fraction:.1%} of the tokens, "
            f"{mixed_fraction:.1%} in random order"
        )


def check_equal(model: MLMMForPreTraining, batch: dict[str, Tensor]) -> None:
    """Assert that the plain port has our values."""
    model.eval()
    inputs = {name: value for name, value in batch.items() if name != "mlm_labels"}
    with torch.no_grad():
        ours, plain = model(**inputs), plain_states(model, batch)
    model.train()
    width = batch["input_ids"].shape[1]
    for states, part, mask in (
        (ours.text_states, plain[:, :width], batch["attention_mask"].bool()),
        (ours.region_states, plain[:, width:], batch["region_attention_mask"].bool()),
    ):
        torch.testing.assert_close(states[mask], part[mask], atol=1e-5, rtol=1e-4)


def main() -> None:
    """Print padding and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden_size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.manual_seed(0)
    print_padding()
    lengths = draw_lengths(args.examples)
    by_length = np.argsort(-lengths.sum(axis=1), kind="stable")
    orders = {"buckets": by_length, "mixed": np.arange(args.examples)}
    batches = {
        name: [
            make_batch(lengths[order[start : start + args.batch_size]])
            for start in range(0, args.examples, args.batch_size)
        ]
        for name, order in orders.items()
    }
    model = build_model(args.hidden_size, args.layers, args.dropout)
    check_equal(model, batches["mixed"][0])

    def step(order: str) -> None:
        for batch in batches[order]:
            model.zero_grad()
            model(**batch).loss.backward()

    def plain() -> None:
        for batch in batches["mixed"]:
            model.zero_grad()
            plain_loss(model, batch).backward()

    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.layers} layers of {args.hidden_size}, "
        f"dropout {args.dropout}, {args.examples} examples in batches of {args.batch_size}"
    )
    ways = {"buckets": lambda: step("buckets"), "mixed": lambda: step("mixed"), "plain": plain}
    seconds = alternate(ways, rounds=args.rounds)
    print(f"mixed padding / length buckets: {ratio(seconds['mixed'], seconds['buckets'])}")
    print(f"plain port / length buckets: {ratio(seconds['plain'], seconds['buckets'])}")


if __name__ == "__main__":
    main()
