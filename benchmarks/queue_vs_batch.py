"""Does the queue decouple the number of negatives from the batch size? Batch 32 with and without it, on emoji7.

    python benchmarks/queue_vs_batch.py                        # 18 runs, about half an hour on 2 cores
    python benchmarks/queue_vs_batch.py --seeds 1 --steps 50   # a smoke run

The towers of the recipe brivl_tiny: the frozen backbone's feature maps are computed once, then every setting trains
`--seeds` times for the same number of pairs. R@1 is the mean of both directions on the style `fluent3d`, which no
training image has; chance is 0.08. The interval is that of Student's t over the seeds.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import Trainer, TrainingArguments, set_seed
from wenlan.data import load_emoji7, training_texts
from wenlan.evaluation import retrieval_recalls
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback
from wenlan.pipelines import embed_images, embed_texts
from wenlan.processing import Augmentation, ContrastiveCollator, build_character_tokenizer
from wenlan.training.brivl.data import load_pairs
from wenlan.training.brivl.feature_cache import CachedFeatureMaps
from wenlan.training.brivl.model import build_config, build_processor, load_backbones
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_brivl import ARGUMENTS

T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}  # two-sided, by number of seeds


@dataclass
class Setting:
    """One way to get negatives."""

    name: str
    batch_size: int
    objective: dict | None = field(default_factory=dict)  # None: no momentum towers, the loss within the batch


def queue(size: int, momentum: float, in_batch: bool) -> dict:
    """Return the objective's fields of BriVLConfig."""
    return {"queue_size": size, "momentum": momentum, "in_batch_negatives": in_batch}


SETTINGS = [
    Setting("batch 32, no queue, no momentum", 32, None),
    Setting("batch 32, momentum keys of the batch only", 32, queue(1, 0.98, True)),
    Setting("batch 32, queue of 192 and the batch", 32, queue(192, 0.98, True)),
    Setting("batch 32, queue of 1024 and the batch", 32, queue(1024, 0.99, True)),
    Setting("batch 32, queue of 192 only (as released)", 32, queue(192, 0.98, False)),
    Setting("batch 128, no queue, no momentum", 128, None),
]


class InBatchCollator(ContrastiveCollator):
    """Also asks `BriVLModel` for its loss."""

    def __call__(self, rows: list[dict]) -> dict[str, Tensor | bool]:
        """Return the batch."""
        return {**super().__call__(rows), "return_loss": True}


def run(setting: Setting, seed: int, pairs: CachedFeatureMaps, args: argparse.Namespace, recipe: tuple) -> float:
    """Train once and return R@1 in percent, the mean of both directions on the test style."""
    set_seed(seed)
    pairs.pairs.seed = seed
    pretraining, processor = build_model(recipe, setting.objective or {})
    if setting.objective is None:
        model, callbacks, collator = pretraining.brivl, [], InBatchCollator(processor)
    else:
        model, callbacks, collator = pretraining, [MomentumQueueCallback()], ContrastiveCollator(processor)
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=setting.batch_size,
            max_steps=args.steps * 32 // setting.batch_size,
            learning_rate=1e-3 if setting.batch_size >= 96 else 5e-4,
            weight_decay=0.05,
            warmup_steps=0.1,
            lr_scheduler_type="cosine",
            seed=seed,
            dataloader_drop_last=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            use_cpu=True,
        )
        Trainer(model, training, train_dataset=pairs, data_collator=collator, callbacks=callbacks).train()
    test = load_emoji7()["test"]
    images = embed_images(pretraining.brivl.eval(), processor, (row["image"] for row in test))
    texts = embed_texts(pretraining.brivl, processor, test["name_zh"])
    recall = retrieval_recalls((texts.double() @ images.double().T).numpy(), range(len(test)))
    return (recall["i2t_R@1"] + recall["t2i_R@1"]) / 2


def build_model(recipe: tuple, objective: dict) -> tuple[BriVLForPreTraining, object]:
    """Return the model of the recipe with another objective, and its processor."""
    model_args = recipe[0]
    tokenizer = build_character_tokenizer(training_texts("zh"), max_length=32)
    config = build_config(model_args, tokenizer)
    for name, value in objective.items():
        setattr(config, name, value)
    model = BriVLForPreTraining(config)
    load_backbones(model, model_args)
    return model, build_processor(model, tokenizer)


def main() -> None:
    """Run every setting with every seed, in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1800, help="of batch 32; larger batches take fewer")
    parser.add_argument("--output", type=Path, help="a JSON file for the single metrics")
    args = parser.parse_args()
    recipe = parse_recipe(ARGUMENTS, ["brivl_tiny_scratch"])
    model_args, data_args = recipe[:2]
    pairs, _ = load_pairs(data_args, 0)
    model, processor = build_model(recipe, {})
    collator = ContrastiveCollator(processor, Augmentation(**data_args.augmentation))
    maps = CachedFeatureMaps(pairs, model.brivl.vision_model.backbone.eval(), collator, views=data_args.cached_views)
    metrics: dict[str, list[float]] = {setting.name: [] for setting in SETTINGS}
    for seed in range(args.seeds):
        for setting in SETTINGS:
            metrics[setting.name].append(run(setting, seed, maps, args, recipe))
            print(f"seed {seed}, {setting.name}: R@1 {metrics[setting.name][-1]:.1f}", flush=True)
    if args.output:
        args.output.write_text(json.dumps(metrics, indent=1), "utf-8")
    print(f"\ntorch {torch.__version__}; {args.steps * 32} pairs a run; {model_args.image_weights}")
    for name, values in metrics.items():
        mean = statistics.mean(values)
        half = T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        print(f"{name}: R@1 {mean:.1f} +- {half:.1f}  ({', '.join(f'{value:.1f}' for value in values)})")


if __name__ == "__main__":
    main()
