"""Train a region detector from a recipe: a folder that `RegionFeatureExtractor.from_pretrained` opens.

    wenlan train-detector detector_tiny
    wenlan train-detector detector_vg --data train.json --image_root images --test_data val.json
    wenlan train-detector detector_tiny --resume                                    # resumes an interrupted run
    python -m wenlan.training_scripts.train_region_detector detector_tiny --max_steps 5 --scenes 8     # a smoke run

The recipes are in `recipes/`; the command line overrides any field, and a key of a dictionary as `--field.key`.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import TrainingArguments, set_seed

from ..data.detection.dataset import DetectionRows
from ..data.files.json_files import write_json
from ..processing.augmentation.detection import DetectionAugmentation
from ..processing.collators.detection import DetectionCollator
from ..training.content_digest import DigestedImages, digest_rows
from ..training.detection.data import DetectionDataArguments, load_test_data, load_training_data
from ..training.detection.model import DetectorArguments, build_detector
from ..training.detection.preview import draw_detections
from ..training.detection.trainer import DetectorTrainer
from ..training.identity import describe_run
from ..training.recipe import parse_recipe
from ..training.run import METRICS, Run, RunArguments, hold_output_folder

COMMAND = "wenlan train-detector"
ARGUMENTS = (DetectorArguments, DetectionDataArguments, RunArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    arguments = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(arguments[-1]):
        return train(*arguments)


def train(
    model_args: DetectorArguments, data_args: DetectionDataArguments, run_args: RunArguments, args: TrainingArguments
) -> Path:
    """Train, save and evaluate; return the folder."""
    run = Run(args, run_args)
    images = DigestedImages()
    data = load_training_data(data_args, args.seed, check_image=images)
    tests = load_test_data(data_args, data)
    model, processor = build_detector(model_args, data.class_names, data.attribute_names)
    settings = {name: getattr(model_args, name) for name in ("image_weights", "init_from")}
    settings |= {"augmentation": data_args.augmentation, "image_processor": processor.to_dict()}
    content = {"rows": len(data.dataset), "digest": digest_rows(data.dataset), "images": {"digest": images.digest}}
    run.identify(describe_run(args, settings, data=content, model=model.config))
    if run.is_main:
        print(data.report)
    collator = DetectionCollator(processor, DetectionAugmentation(**data_args.augmentation))
    trainer = DetectorTrainer(
        model,
        args,
        train_dataset=DetectionRows(data.dataset, seed=args.seed),
        eval_dataset=tests.get("test"),
        data_collator=collator,
        processing_class=processor,
        callbacks=run.callbacks,
    )
    run.train(trainer, collator.bad_rows, max_bad_fraction=data_args.max_bad_fraction)
    run.save(trainer, processor)
    evaluate(trainer, tests, run.output_dir)
    return run.finish(trainer, f"wenlan extract-regions IMAGES --output DIR --model {run.output_dir}")


def evaluate(trainer: DetectorTrainer, tests: dict[str, DetectionRows], output_dir: Path) -> None:
    """Print mAP on each of the tests, write all metrics to `metrics.json` and a sheet to `detections.png`."""
    trainer.data_collator.augmentation = None
    set_seed(trainer.args.seed)  # the losses draw anchors and proposals; a resumed run draws the same
    results = {name: trainer.evaluate(rows, metric_key_prefix=name) for name, rows in tests.items()}
    if results and trainer.is_world_process_zero():
        write_json(output_dir / METRICS, results)
        for name, metrics in results.items():
            print(f"{name}: mAP50 {metrics[f'{name}_mAP50']:.1%}, mAP {metrics[f'{name}_mAP']:.1%}")
        draw_detections(output_dir, tests, output_dir / "detections.png")


__all__ = ["ARGUMENTS", "evaluate", "main"]

if __name__ == "__main__":
    main()
