"""Trains a region detector from a recipe: a folder that `RegionFeatureExtractor.from_pretrained` opens.

    wenlan train-detector detector_tiny
    wenlan train-detector detector_vg --data train.json --image_root images --test_data val.json
    wenlan train-detector detector_tiny --resume                                    # goes on after an interruption
    python -m wenlan.training_scripts.train_region_detector detector_tiny --max_steps 5 --scenes 8     # a smoke run

The recipes are in `recipes/`; any field of them but the dictionaries can be overridden on the command line.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import TrainingArguments, set_seed

from ..data.detection.dataset import DetectionRows
from ..data.files.atomic import atomic_files
from ..data.files.json_files import write_json
from ..processing.augmentation.detection import DetectionAugmentation
from ..processing.collators.detection import DetectionCollator
from ..training.callbacks.set_epoch import SetEpochCallback
from ..training.callbacks.skip_non_finite import NonFiniteArguments, NonFiniteGuard
from ..training.callbacks.stop_on_signal import train_until_signal
from ..training.checkpoints.resume import ResumeArguments, resolve_resume_checkpoint
from ..training.detection.data import DetectionDataArguments, load_test_data, load_training_data
from ..training.detection.model import DetectorArguments, build_detector
from ..training.detection.preview import draw_detections
from ..training.detection.trainer import DetectorTrainer
from ..training.recipe import parse_recipe

ARGUMENTS = (DetectorArguments, DetectionDataArguments, ResumeArguments, NonFiniteArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    model_args, data_args, resume_args, guard_args, args = parse_recipe(ARGUMENTS, argv)
    set_seed(args.seed)
    checkpoint = resolve_resume_checkpoint(args, resume=resume_args.resume)
    data = load_training_data(data_args, args.seed)
    tests = load_test_data(data_args, data)
    model, processor = build_detector(model_args, data.class_names, data.attribute_names)
    if args.process_index == 0:
        print(data.report)
    collator = DetectionCollator(processor, DetectionAugmentation(**data_args.augmentation))
    trainer = DetectorTrainer(
        model,
        args,
        train_dataset=DetectionRows(data.dataset, seed=args.seed),
        eval_dataset=tests.get("test"),
        data_collator=collator,
        processing_class=processor,
        callbacks=[SetEpochCallback(), NonFiniteGuard(**vars(guard_args))],
    )
    try:
        train_until_signal(trainer, checkpoint)
    finally:
        if trainer.failed_saves:
            print(f"Checkpoints that could not be saved: {trainer.failed_saves}")
        if collator.bad_images:
            print(f"Images that could not be read while training: {dict(collator.bad_images)}")
    output_dir = Path(args.output_dir)
    save(trainer, output_dir)
    evaluate(trainer, tests, output_dir)
    if trainer.is_world_process_zero():
        print(f"\nThe detector is in {output_dir}.")
        print(f"Next: wenlan extract-regions IMAGES --output DIR --model {output_dir}")
    trainer.accelerator.wait_for_everyone()  # a rank that leaves early takes the others down
    trainer.accelerator.end_training()
    return output_dir


def save(trainer: DetectorTrainer, output_dir: Path) -> None:
    """Write the detector, its processor and the course of training into the output folder."""
    state = trainer.accelerator.get_state_dict(trainer.model)
    if trainer.is_world_process_zero():
        with atomic_files(output_dir) as folder:
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder, state_dict=state)
            trainer.processing_class.save_pretrained(folder)
            trainer.state.save_to_json(str(folder / "trainer_state.json"))


def evaluate(trainer: DetectorTrainer, tests: dict[str, DetectionRows], output_dir: Path) -> None:
    """Print mAP on each of the tests, write all metrics to `metrics.json` and a sheet to `detections.png`."""
    trainer.data_collator = DetectionCollator(trainer.processing_class)
    results = {name: trainer.evaluate(rows, metric_key_prefix=name) for name, rows in tests.items()}
    if results and trainer.is_world_process_zero():
        write_json(output_dir / "metrics.json", results)
        for name, metrics in results.items():
            print(f"{name}: mAP50 {metrics[f'{name}_mAP50']:.1%}, mAP {metrics[f'{name}_mAP']:.1%}")
        draw_detections(output_dir, tests, output_dir / "detections.png")


__all__ = ["ARGUMENTS", "evaluate", "main", "save"]

if __name__ == "__main__":
    main()
