"""Training on pairs of the user's own whatever their number: sizes that follow it, an evaluation before and after."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import TrainingArguments

from ...data.pairs.dataset import TrainingPairs
from ...data.pairs.splits import HELD_OUT
from ...data.rows.report import BadRowReport
from ...data.rows.vocabulary import VocabularyCounts
from ...evaluation.retrieval.own_pairs import PairEvaluation, PairScores, evaluate_pairs, read_evaluation_rows
from ...evaluation.retrieval.pair_set import PairSet
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.momentum_queue import NegativeQueue
from ...modeling_brivl.pretraining import BriVLForPreTraining
from ...processing.processing_brivl import BriVLProcessor
from .data import DataArguments

if TYPE_CHECKING:
    from datasets import Dataset

MIN_BATCH, MAX_BATCH, BATCHES = 8, 128, 8  # of a batch, and of an epoch at least
EPOCHS, MIN_STEPS = 10, 200
VIEWS, MAX_VIEWS = 4, 40_000  # of an image, and of all


def fit_to_pairs(
    args: TrainingArguments, data_args: DataArguments, model: BriVLForPreTraining, pairs: int, given: Collection[str]
) -> str:
    """Set what neither recipe nor command line gives by the number of pairs; return what was chosen.

    - The batch is the power of two from 8 to 128 of which an epoch has 8 or more, and never more than the pairs.
    - There are 10 epochs, and 200 steps at least.
    - The queue holds half of the pairs at most, lest a pair meet its own earlier keys.
    - A frozen backbone sees 4 views of each image once, as long as these are 40,000 at most.
    - The frozen layers of a text encoder see each caption once, as long as there are 40,000 pairs at most.

    The number of processes and of accumulated batches divides the batch.
    """
    parts = args.world_size * args.gradient_accumulation_steps
    if "per_device_train_batch_size" not in given:
        batch = min(MAX_BATCH, max(MIN_BATCH, 2 ** int(math.log2(max(1, pairs / BATCHES)))))
        args.per_device_train_batch_size = max(1, min(batch, pairs) // parts)
    batch = args.train_batch_size * parts
    if not {"max_steps", "num_train_epochs"} & set(given):
        args.max_steps = max(MIN_STEPS, math.ceil(EPOCHS * pairs / batch))
    if model.config.queue_size > (size := max(1, pairs // 2)):
        model.config.queue_size = size
        model.queue = NegativeQueue(size, model.config.projection_dim)
    backbone = model.brivl.vision_model.backbone
    if "cached_views" not in given and not any(one.requires_grad for one in backbone.parameters()):
        data_args.cached_views = VIEWS if VIEWS * pairs <= MAX_VIEWS else 0
    text_tower = model.brivl.text_model
    if "cached_texts" not in given and text_tower.trunk_depth and not text_tower.config.attend_padding:
        data_args.cached_texts = int(pairs <= MAX_VIEWS)
    length = f"{args.max_steps} steps" if args.max_steps > 0 else f"{args.num_train_epochs:g} epochs"
    return f"{pairs:,} pairs: {length} of {batch}, a queue of {model.config.queue_size}"


@dataclass
class OwnEvaluation:
    """The evaluation of a run on pairs of the user's own that it does not train on.

    Attributes:
        name: of the split.
        pairs: of the split.
        vocabulary, report: of its captions and rows.
    """

    name: str
    pairs: PairSet
    vocabulary: VocabularyCounts
    report: BadRowReport

    @classmethod
    def open(cls, args: DataArguments, pairs: TrainingPairs, processor: BriVLProcessor) -> "OwnEvaluation | None":
        """Return the evaluation on the split validation, or test, of a file that has one, or on what is held out.

        None, and a line that says why, where there is nothing to evaluate on.
        """
        found = _evaluation_rows(args, pairs)
        if found is None:
            print("No evaluation: there are too few images to hold some out, no split to evaluate on, or boxes.")
            return None
        name, rows, report = found
        try:
            chosen = PairSet.from_rows(rows)
        except ValueError as error:
            print(f"No evaluation: {error}")
            return None
        vocabulary = VocabularyCounts(processor.tokenizer, processor.max_text_length)
        vocabulary.add(chosen.texts)
        print(f"Evaluates on {len(chosen.row_of_image):,} images ({name}) that are not trained on.")
        return cls(name, chosen, vocabulary, report)

    def __call__(self, model: BriVLModel, processor: BriVLProcessor) -> PairEvaluation:
        """Return the metrics of a model."""
        scores = PairScores.of_brivl(model, processor, self.pairs, progress=False)
        return evaluate_pairs(self.pairs, scores, self.vocabulary, self.report)


def _evaluation_rows(args: DataArguments, pairs: TrainingPairs) -> "tuple[str, Dataset, BadRowReport] | None":
    assert pairs.bad_rows is not None  # as `load_pairs` gives them
    if "boxes" in pairs.dataset.column_names:  # of images to evaluate on, a detector would have to find them
        return None
    if pairs.held_out is not None:
        return (HELD_OUT, pairs.held_out, pairs.bad_rows) if len(pairs.held_out) else None
    name = next((name for name in ("validation", "test") if pairs.bad_rows.other_splits[name]), None)
    if name is None:
        return None
    same = ("image_root", "image_column", "text_column", "encoding", "max_bad_fraction")
    return name, *read_evaluation_rows(args.data, split=name, **{option: getattr(args, option) for option in same})


def describe_change(before: PairEvaluation, after: PairEvaluation) -> str:
    """Return one line on the mean recall before and after training."""
    first, last = before.metrics, after.metrics
    low, high = last["intervals"]["mean_recall"]
    recalls = f"{first['mean_recall']:.1f} before, {last['mean_recall']:.1f} after ({low:.1f}-{high:.1f})"
    return f"Mean recall: {recalls}, chance {last['chance_mean_recall']:.1f}"


__all__ = ["OwnEvaluation", "describe_change", "fit_to_pairs"]
