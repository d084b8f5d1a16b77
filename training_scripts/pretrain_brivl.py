"""Pre-trains BriVL from a recipe: a folder that `AutoModel.from_pretrained` opens.

    wenlan pretrain-brivl brivl_tiny
    wenlan pretrain-brivl brivl_small --output_dir runs/mine --data my_images/metadata.jsonl
    wenlan pretrain-brivl brivl_small --resume                                      # goes on after an interruption
    torchrun --nproc_per_node 2 -m wenlan.training_scripts.pretrain_brivl brivl_small
    python -m wenlan.training_scripts.pretrain_brivl brivl_tiny --max_steps 20      # a smoke run in seconds

The recipes are in `recipes/`; any field of them but the dictionaries can be overridden on the command line.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModel, TrainingArguments, set_seed

from ..data.files.json_files import write_json
from ..evaluation.zero_shot.emoji7 import evaluate_emoji7
from ..modeling_brivl.momentum_queue_callback import MomentumQueueCallback
from ..processing.augmentation.image import Augmentation
from ..processing.collators.brivl import ContrastiveCollator
from ..processing.processing_brivl import BriVLProcessor
from ..training.brivl.data import DataArguments, load_pairs, report_data
from ..training.brivl.feature_cache import CachedFeatureMaps
from ..training.brivl.model import ModelArguments, build_model
from ..training.callbacks.set_epoch import SetEpochCallback
from ..training.callbacks.skip_non_finite import NonFiniteArguments, NonFiniteGuard
from ..training.callbacks.stop_on_signal import train_until_signal
from ..training.callbacks.stream_per_rank import prepare_streaming
from ..training.checkpoints.atomic_trainer import AtomicCheckpointTrainer
from ..training.checkpoints.resume import ResumeArguments, resolve_resume_checkpoint
from ..training.lora import LoraArguments, add_text_lora, merge_text_lora
from ..training.recipe import parse_recipe
from ..training.run import save_query_towers

ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, ResumeArguments, NonFiniteArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and (on emoji7) evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    model_args, data_args, lora_args, resume_args, guard_args, args = parse_recipe(ARGUMENTS, argv)
    set_seed(args.seed)
    callbacks = [MomentumQueueCallback(), SetEpochCallback(), NonFiniteGuard(**vars(guard_args))]
    if data_args.streaming:
        callbacks.append(prepare_streaming(args))
    checkpoint = resolve_resume_checkpoint(args, resume=resume_args.resume)
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
            print(f"Images that could not be read while training: {dict(collator.bad_images)}")
        if stream is not None:
            print(stream.bad_rows)

    if lora_args.lora_rank:
        merge_text_lora(model)
    save_query_towers(trainer, model, processor)
    if trainer.is_world_process_zero():
        if data_args.data == "emoji7":
            evaluate(output_dir, processor, data_args.language)
        print(f"\nThe model is in {output_dir}. Next: wenlan zero-shot {output_dir} IMAGE --labels 猫,狗")
    trainer.accelerator.wait_for_everyone()  # a rank that leaves early takes the others down
    trainer.accelerator.end_training()
    return output_dir


def evaluate(folder: Path, processor: BriVLProcessor, language: str) -> None:
    """Write the metrics of the saved model on emoji7 to `metrics.json`."""
    results = evaluate_emoji7(AutoModel.from_pretrained(folder), processor, language=language)
    write_json(folder / "metrics.json", results)


__all__ = ["ARGUMENTS", "evaluate", "main"]

if __name__ == "__main__":
    main()
