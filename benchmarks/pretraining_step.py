"""One pre-training step of BriVL 1.0 with the original's freezing: time, memory, and what the queue costs.

    python benchmarks/pretraining_step.py                          # about ten minutes and 12 GB on 2 cores
    OMP_NUM_THREADS=1 python benchmarks/pretraining_step.py --image_size 380 --batch_size 8 --ways original recipe

Random weights at full size (468 M parameters, 196 M of them trained), 37 boxes, captions of 16 tokens. A step is
forward and backward, moving average and queue; no optimizer, which is the same in all ways. Times are of runs in turn
in one process; peak memory is that of a fresh process each.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from alternate import alternate, ratio
from plain.brivl import plain_step
from towers import random_boxes
from wenlan.modeling_brivl import BriVLConfig, BriVLForPreTraining

TEXT_LENGTH, MAX_TEXT_LENGTH = 16, 80
WAYS = {
    "original": "plain port: two copies, frozen batch norms train, texts padded to 80",
    "two copies": "ours with share_frozen_trunk=false",
    "shared": "ours",
    "recipe": "ours with activation checkpointing, as in recipe brivl_1.0",
}
PAIRS = (("shared", "original"), ("shared", "two copies"), ("recipe", "original"))


def build_model(way: str, image_size: int, chunk_size: int = 0) -> BriVLForPreTraining:
    """Return a model of one of `WAYS` with the original's freezing."""
    original = way == "original"
    overrides = {
        "vision_config": {
            "image_size": image_size,
            "trainable_backbone": [f"blocks.{i}" for i in (3, 4, 5, 6)],
            "train_batch_norm": not chunk_size,
            "train_frozen_batch_norm": original,
        },
        "text_config": {"trainable_backbone": [f"layer.{i}" for i in range(8, 12)], "attend_padding": original},
        "share_frozen_trunk": way in ("shared", "recipe"),
        "contrastive_chunk_size": chunk_size,
    }
    model = BriVLForPreTraining(BriVLConfig.from_variant("1.0", overrides)).train()
    if way == "recipe":
        model.activation_checkpointing_enable()
    return model if original else model.to(memory_format=torch.channels_last)


def build_batch(way: str, batch_size: int, image_size: int) -> dict[str, torch.Tensor]:
    """Return the same pairs as the way wants them: texts padded to the maximum or to the batch."""
    generator = torch.Generator().manual_seed(0)
    length = MAX_TEXT_LENGTH if way == "original" else TEXT_LENGTH
    input_ids = torch.zeros(batch_size, length, dtype=torch.int64)
    input_ids[:, :TEXT_LENGTH] = torch.randint(5, 20_000, (batch_size, TEXT_LENGTH), generator=generator)
    pixel_values = torch.randn(batch_size, 3, image_size, image_size, generator=generator)
    torch.manual_seed(0)
    boxes = random_boxes(batch_size, 37, image_size)
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids > 0).long(),
        "pixel_values": pixel_values if way == "original" else pixel_values.to(memory_format=torch.channels_last),
        "boxes": boxes,
        "box_mask": torch.ones(boxes.shape[:2]),
    }


def step(model: BriVLForPreTraining, batch: dict[str, torch.Tensor]) -> None:
    """Run one step of ours."""
    model.zero_grad()
    model.update_momentum()
    model(**batch).loss.backward()
    model.queue.enqueue(*model.pop_keys())


def run_way(way: str, model: BriVLForPreTraining, batch: dict[str, torch.Tensor]) -> None:
    """Run one step the given way."""
    if way == "original":
        model.zero_grad()
        plain_step(model, batch)
    else:
        step(model, batch)


def peak_memory(way: str, image_size: int, batch_size: int) -> tuple[float, float]:
    """Return GB of a fresh process: at rest with model and gradients, and at the peak of two more steps."""
    command = [sys.executable, __file__, "--memory_of", way, "--image_size", str(image_size)]
    output = subprocess.run([*command, "--batch_size", str(batch_size)], check=True, capture_output=True, text=True)
    return tuple(float(word) for word in output.stdout.split()[-2:])


def print_memory(way: str, image_size: int, batch_size: int) -> None:
    """Print resident memory of this process at rest and at its peak, in GB."""
    import psutil

    model, batch = build_model(way, image_size), build_batch(way, batch_size, image_size)
    for _ in range(2):
        run_way(way, model, batch)
    at_rest = psutil.Process().memory_info().rss
    print(f"{at_rest / 1e9:.3f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.3f}")


def fractions_of_a_step(model: BriVLForPreTraining, batch: dict[str, torch.Tensor], rounds: int) -> None:
    """Print the fraction of a step that moving average, queue and logits take."""
    with torch.no_grad():
        output = model.eval()(**batch)
    model.train()
    queries = {"image": output.image_embeds.clone(), "text": output.text_embeds.clone()}
    groups = torch.full((len(output.image_keys),), -1)

    def logits() -> None:
        image, text = (queries[name].requires_grad_() for name in ("image", "text"))
        model.contrastive_output(image, text, output.image_keys, output.text_keys, groups).loss.backward()
        model.pop_keys()

    def enqueue() -> None:
        model.queue.enqueue(output.image_keys, output.text_keys, groups)

    ways = {"step": lambda: step(model, batch), "moving average": model.update_momentum, "queue": enqueue}
    seconds = alternate(ways | {"logits and loss": logits}, rounds=rounds)
    medians = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    parts = {name: value / medians["step"] for name, value in medians.items() if name != "step"}
    print(f"fraction of a step: {sum(parts.values()):.1%} = " + ", ".join(f"{n} {v:.2%}" for n, v in parts.items()))


def accumulation(image_size: int, batch_size: int, chunk_size: int, rounds: int) -> None:
    """Print what chunks cost and what theory says: one more forward pass of the trained part of the query towers."""
    batch = build_batch("shared", batch_size, image_size)
    model = build_model("shared", image_size, chunk_size)
    query_forward = []

    def chunked() -> None:
        step(model, batch)

    def plain() -> None:
        model.config.contrastive_chunk_size = 0
        for start in range(0, batch_size, chunk_size):
            model(**{name: rows[start : start + chunk_size] for name, rows in batch.items()}).loss.backward()
        model.zero_grad()
        model.update_momentum()
        model.queue.enqueue(*model.pop_keys())
        model.config.contrastive_chunk_size = chunk_size

    @torch.no_grad()
    def forward() -> None:
        vision, text = model.brivl.vision_model, model.brivl.text_model
        states = vision.run_trunk(batch["pixel_values"]), text.run_trunk(batch["input_ids"], batch["attention_mask"])
        started = time.perf_counter()
        for start in range(0, batch_size, chunk_size):
            rows = {name: part[start : start + chunk_size] for name, part in batch.items()}
            vision(rows["pixel_values"], rows["boxes"], rows["box_mask"], trunk_states=states[0][start:][:chunk_size])
            text(rows["input_ids"], rows["attention_mask"], trunk_states=states[1][start:][:chunk_size])
        query_forward.append(time.perf_counter() - started)

    seconds = alternate({"chunked": chunked, "plain": plain, "forward": forward}, rounds=rounds)
    theory = [a + b for a, b in zip(seconds["plain"], query_forward[-rounds:], strict=True)]
    print(
        f"kept negatives, batch {batch_size} in chunks of {chunk_size}, against accumulation plus one forward pass of"
    )
    print(f"  the query towers: {ratio(seconds['chunked'], theory)}")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_size", type=int, default=228)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which ways, by default all")
    parser.add_argument("--memory_of", choices=WAYS, help="only print the memory of one way")
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.memory_of:
        print_memory(args.memory_of, args.image_size, args.batch_size)
        return
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.image_size} px, batch {args.batch_size}"
    )
    memory = {way: peak_memory(way, args.image_size, args.batch_size) for way in args.ways}
    pairs = [pair for pair in PAIRS if set(pair) <= set(args.ways)]
    for way, (at_rest, peak) in memory.items():
        print(f"memory of {way} ({WAYS[way]}): at rest {at_rest:.2f} GB, peak {peak:.2f} GB")
    for ours, way in pairs:
        print(f"peak memory, {ours} / {way}: {memory[ours][1] / memory[way][1]:.2f}")
    models = {way: build_model(way, args.image_size) for way in args.ways}
    batches = {way: build_batch(way, args.batch_size, args.image_size) for way in args.ways}
    ways = {way: lambda way=way: run_way(way, models[way], batches[way]) for way in args.ways}
    seconds = alternate(ways, rounds=args.rounds)
    for ours, way in pairs:
        print(f"step, {way} / {ours}: {ratio(seconds[way], seconds[ours])}")
    if "shared" not in args.ways:
        return
    fractions_of_a_step(models["shared"], batches["shared"], args.rounds)
    models.clear()
    accumulation(args.image_size, 2 * args.batch_size, args.batch_size, args.rounds)


if __name__ == "__main__":
    main()
