"""Pre-train MLMM from a recipe: a folder that `AutoModelForPreTraining.from_pretrained` opens.

    wenlan data scenes --output runs/scenes --split pretrain --split test
    wenlan extract-regions runs/scenes/pretrain/images --output runs/scene_regions/pretrain --model runs/detector_tiny
    wenlan extract-regions runs/scenes/test/images --output runs/scene_regions/test --model runs/detector_tiny
    wenlan pretrain-mlmm mlmm_tiny
    wenlan pretrain-mlmm mlmm_tiny --resume                                         # resumes an interrupted run
    torchrun --nproc_per_node 2 -m wenlan.training_scripts.pretrain_mlmm mlmm_base

The recipes are in `recipes/`; the command line overrides any field, and a key of a dictionary as `--field.key`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import TrainingArguments

from ..data.emoji_scenes.vocabulary import CLASS_NAMES, COLOUR_NAMES
from ..data.files.json_files import write_json
from ..data.mlmm.corpus import MLMMCorpus
from ..data.mlmm.dataset import MLMMExamples
from ..data.rows.languages import LANGUAGES
from ..evaluation.mlmm_pretraining import evaluate_mlmm_pretraining
from ..modeling_mlmm.pretraining import MLMMForPreTraining
from ..processing.collators.mlmm_pretraining import MLMMPretrainingCollator
from ..processing.processing_mlmm import MLMMProcessor
from ..training.content_digest import digest_corpus, digest_regions, digest_values
from ..training.identity import describe_run
from ..training.mlmm.batches import BatchArguments
from ..training.mlmm.data import CorpusArguments, load_corpus, read_info, region_folders
from ..training.mlmm.model import MLMMArguments, build_model, load_processor
from ..training.mlmm.region_names import load_region_names, start_regions_as_names
from ..training.mlmm.trainer import MLMMTrainer
from ..training.recipe import parse_recipe
from ..training.run import METRICS, REPORT, Run, RunArguments, hold_output_folder

COMMAND = "wenlan pretrain-mlmm"
ARGUMENTS = (MLMMArguments, CorpusArguments, BatchArguments, RunArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    arguments = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(arguments[-1]):
        return pretrain(*arguments)


def pretrain(
    model_args: MLMMArguments,
    corpus_args: CorpusArguments,
    batch_args: BatchArguments,
    run_args: RunArguments,
    args: TrainingArguments,
) -> Path:
    """Train, save and evaluate; return the folder."""
    if args.max_steps < 1:
        raise ValueError("Give max_steps: how long to train is counted in steps, not in epochs.")
    run = Run(args, run_args)
    listed, test = corpus_args.listed(), corpus_args.test()
    info = read_info(listed if test is None else [*listed, test])
    names = model_args.region_names and load_region_names(model_args.region_names, info, model_args.detector)
    processor = load_processor(model_args, info)
    limits = {"max_text_length": processor.max_text_length}
    loaded = [load_corpus(corpus, corpus_args, processor.tokenizer, **limits) for corpus in listed]
    corpora = [corpus for corpus, _ in loaded]
    own_pairs = replace(corpus_args, shuffle_pairs=False)
    tested = None if test is None else load_corpus(test, own_pairs, processor.tokenizer, **limits)
    model = build_model(model_args, processor, info)
    if names:
        nearest = start_regions_as_names(model, processor, corpora, names)
        if run.is_main:
            print(f"Before training {nearest:.1%} of the regions are nearest to the name of their class.")
    started = ("text_weights", "init_from", "region_names")
    settings = {name: getattr(model_args, name) for name in started} | vars(batch_args)
    data = {
        "captions": {"digest": digest_values(map(digest_corpus, corpora))},
        "regions": {"digest": digest_values(digest_regions(region_folders(corpus)) for corpus in listed)},
    }
    run.identify(describe_run(args, settings, data=data, model=model.config, tokenizer=processor.tokenizer))
    if run.is_main:
        print("\n".join(str(report) for _, report in loaded))
        write_json(run.output_dir / REPORT, [report.to_dict() for _, report in loaded])
    collator = MLMMPretrainingCollator(processor, masked_fraction=batch_args.masked_fraction)
    trainer = MLMMTrainer(
        model,
        args,
        batches=batch_args.sampler(corpora, args),
        train_dataset=MLMMExamples(corpora),
        data_collator=collator,
        callbacks=run.callbacks,
    )
    run.train(trainer, collator.bad_rows, max_bad_fraction=corpus_args.max_bad_fraction)
    run.save(trainer, processor)
    if run.is_main and tested is not None:
        corpus, report = tested
        print(report)
        evaluate(model, processor, corpus, corpus_args, run.output_dir)
    return run.finish(trainer, f"wenlan finetune-retrieval or finetune-vqa RECIPE --init_from {run.output_dir}")


def evaluate(
    model: MLMMForPreTraining, processor: MLMMProcessor, corpus: MLMMCorpus, args: CorpusArguments, output_dir: Path
) -> None:
    """Print the metrics on unseen images, each beside its control, and write them to `metrics.json`."""
    names = None
    if args.test_objects:  # a name that is a colour's as well, such as "rose", may be that of the background
        names = {
            language: [name for name in CLASS_NAMES[language] if name not in COLOUR_NAMES[language]]
            for language in LANGUAGES
        }
    metrics = evaluate_mlmm_pretraining(
        *(model, processor, corpus),
        object_names=names,
        max_examples=args.test_examples,
        max_bad_fraction=args.max_bad_fraction,
    )
    write_json(output_dir / METRICS, metrics)
    for task, rows in metrics.items():
        print(f"{task}: " + ", ".join(f"{name} {value:.3g}" for name, value in rows["all"].items()))


__all__ = ["ARGUMENTS", "evaluate", "main"]

if __name__ == "__main__":
    main()
