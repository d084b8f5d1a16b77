"""Pre-trains BriVL from a recipe: a folder that `AutoModel.from_pretrained` opens.

    wenlan pretrain-brivl brivl_tiny
    wenlan pretrain-brivl brivl_small --output_dir runs/mine --data my_pictures/metadata.jsonl
    wenlan pretrain-brivl brivl_small --resume                                      # goes on after an interruption
    torchrun --nproc_per_node 2 -m wenlan.training_scripts.pretrain_brivl brivl_small
    python -m wenlan.training_scripts.pretrain_brivl brivl_tiny --max_steps 20      # a smoke run in seconds

The recipes are in `recipes/`; any field of them but the dictionaries can be overridden on the command line.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModel, TrainingArguments, set_seed

from ..data import atomic_file, atomic_files
from ..evaluation import evaluate_emoji7
from ..modeling_brivl import BriVLForPreTraining, MomentumQueueCallback
from ..processing import Augmentation, BriVLProcessor, CachedFeatureMaps, ContrastiveCollator
from .atomic_checkpoint import AtomicCheckpointTrainer
from .build_brivl import ModelArguments, build_model
from .find_checkpoint import ResumeArguments, choose_checkpoint
from .lora import LoraArguments, add_text_lora, merge_text_lora
from .non_finite_guard import NonFiniteArguments, NonFiniteGuard
from .pretraining_data import DataArguments, load_pairs, report_data
from .recipe import parse_recipe
from .set_epoch_callback import SetEpochCallback
from .stop_on_signal import train_until_signal
from .stream_training import prepare_streaming

ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, ResumeArguments, NonFiniteArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Trains, saves and (on emoji7) evaluates; returns the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    model_args, data_args, lora_args, resume_args, guard_args, args = parse_recipe(ARGUMENTS, argv)
    set_seed(args.seed)
    callbacks = [MomentumQueueCallback(), SetEpochCallback(), NonFiniteGuard(**vars(guard_args))]
    if data_args.streaming:
        callbacks.append(prepare_streaming(args))
    checkpoint = choose_checkpoint(args, resume=resume_args.resume)
    pairs, texts = load_pairs(data_args, args.seed, rank=args.process_index, world_size=args.world_size)
    model, processor = build_model(model_args, texts)
    if data_args.duplicate_captions == "positive":
        model.config.group_positives = True
    if lora_args.lora_rank:
        add_text_lora(model, lora_args)
    output_dir = Path(args.output_dir)
    if args.process_index == 0:
        report = report_data(
            pairs,
            data_args,
            tokenizer=processor.tokenizer,
            max_tokens=processor.max_text_length,
            batch_size=args.train_batch_size * args.world_size,
            queue_size=model.config.queue_size,
        )
        print(report)
        output_dir.mkdir(parents=True, exist_ok=True)
        report.save(output_dir / "data_report.json")

    collator = ContrastiveCollator(processor, Augmentation(**data_args.augmentation))
    stream = pairs if data_args.streaming else None
    if data_args.cached_views:
        backbone = model.brivl.vision_model.backbone.eval()
        pairs = CachedFeatureMaps(pairs, backbone, collator, views=data_args.cached_views)
        collator = ContrastiveCollator(processor)
    trainer = AtomicCheckpointTrainer(model, args, train_dataset=pairs, data_collator=collator, callbacks=callbacks)
    try:
        train_until_signal(trainer, checkpoint)
    finally:
        if trainer.failed_saves:
            print(f"Checkpoints that could not be saved: {trainer.failed_saves}")
        if collator.bad_images:
            print(f"Pictures that could not be read while training: {dict(collator.bad_images)}")
        if stream is not None:
            print(stream.bad_rows)

    if lora_args.lora_rank:
        merge_text_lora(model)
    save(trainer, model, processor)
    if trainer.is_world_process_zero():
        if data_args.data == "emoji7":
            evaluate(output_dir, processor, data_args.language)
        print(f"\nThe model is in {output_dir}. Next: wenlan zero-shot {output_dir} PICTURE --labels 猫,狗")
    trainer.accelerator.wait_for_everyone()  # a rank that leaves early takes the others down
    trainer.accelerator.end_training()
    return output_dir


def save(trainer: AtomicCheckpointTrainer, model: BriVLForPreTraining, processor: BriVLProcessor) -> None:
    """Writes the query towers, the processor and the course of training into the output folder."""
    state = trainer.accelerator.get_state_dict(trainer.model)  # on every rank: the towers may be sharded
    if trainer.is_world_process_zero():
        query_state = {k.removeprefix("brivl."): v for k, v in state.items() if k.startswith("brivl.")}
        with atomic_files(Path(trainer.args.output_dir)) as folder:
            model.brivl.save_pretrained(folder, state_dict=query_state)
            processor.save_pretrained(folder)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))


def evaluate(folder: Path, processor: BriVLProcessor, language: str) -> None:
    """Writes the figures of the saved model on emoji7 to `metrics.json`."""
    results = evaluate_emoji7(AutoModel.from_pretrained(folder), processor, language=language)
    with atomic_file(folder / "metrics.json") as unfinished:
        unfinished.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")


__all__ = ["ARGUMENTS", "evaluate", "main", "save"]

if __name__ == "__main__":
    main()
