"""Metrics of a pre-trained MLMM on unseen images: matching, names of things, and classes of hidden regions.

Each metric stands beside a control: the same model on the same examples, less what it ought to use.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..data.mlmm.corpus import MLMMCorpus
from ..data.mlmm.dataset import MLMMExamples, draw_evaluation
from ..data.rows.languages import SPACELESS
from ..data.rows.report import EmptyBatchError
from ..data.rows.types import MaskingExample
from ..processing.collators.mlmm_pretraining import MLMMPretrainingCollator
from ..processing.processing_mlmm import MLMMProcessor

BATCH_SIZE = 64
Metrics = dict[str, dict[str, dict[str, float]]]


@torch.no_grad()
def evaluate_mlmm_pretraining(
    model: PreTrainedModel,
    processor: MLMMProcessor,
    corpus: MLMMCorpus,
    *,
    object_names: Mapping[str, Sequence[str]] | None = None,
    max_examples: int | None = 700,
    seed: int = 0,
    max_bad_fraction: float = 0.1,
) -> Metrics:
    """Evaluate an `MLMMForPreTraining` on images that it was not trained on; fractions between 0 and 1.

    Args:
        model, processor: the model, which is left as it was, in training or not, and its processor.
        corpus: unseen images with their captions.
        object_names: language -> names of things. One of those in a caption is hidden, wherever it stands, and all of
            its pieces must be found again.
        max_examples: captions of each metric, drawn from all; None: all of them.
        seed: of pairs and masks; the same metrics come at every call.
        max_bad_fraction: of the images whose regions cannot be used.

    Returns:
        metric -> "all" and each language -> numbers:
        "itm": `accuracy`, balanced over matching and wrong pairs, and `without_regions`, where all regions are zeros.
        "object_words": `accuracy` of whole names, `piece_accuracy`, and the same `without_regions`; with object_names.
        "mrc": `accuracy` of the hidden regions' best class, background left out, `with_other_words`, where each
        image has another one's caption, and `most_common`, the fraction of the most common class.
        Each also has `count`, of pairs, names or regions.

    Raises:
        TooManyBadRowsError: the regions of more images cannot be used.
        ValueError: there is nothing to evaluate one of them on, such as no caption with a name of a thing.
    """
    was_training = model.training
    model.eval()
    evaluate = _Evaluation(model, processor, corpus, max_examples, seed)
    metrics = {"itm": evaluate.matching()}
    if object_names is not None:
        metrics["object_words"] = evaluate.object_words(object_names)
    if "class_probs" in corpus.read_images([int(corpus.images[0])], with_labels=True)[0]:
        metrics["mrc"] = evaluate.region_classes()
    model.train(was_training)
    evaluate.collator.bad_rows.raise_above(max_bad_fraction)
    if empty := [name for name, found in metrics.items() if not found]:
        raise ValueError(
            f"{corpus.name}: none of the captions drawn can be evaluated by {', '.join(empty)}: they hold none of the "
            "names of things (test_objects), or no region is hidden. Leave it out, or give other captions."
        )
    return metrics


class _Evaluation:
    def __init__(
        self, model: PreTrainedModel, processor: MLMMProcessor, corpus: MLMMCorpus, max_examples: int | None, seed: int
    ) -> None:
        self.model, self.corpus = model, corpus
        self.tokenizer = processor.tokenizer
        self.collator = MLMMPretrainingCollator(processor)
        self.max_examples, self.seed = max_examples, seed

    def matching(self) -> dict[str, dict[str, float]]:
        """Return the fraction of right pairs, the mean of that of matching and wrong ones."""
        right = _Counts()
        for batch, languages in self._batches("itm"):
            labels = batch["itm_labels"]
            for name, inputs in (("accuracy", batch), ("without_regions", _without_regions(batch))):
                hits = self.model(**inputs, task="itm").itm_logits.argmax(dim=1) == labels
                for language, label, hit in zip(languages, labels.tolist(), hits.tolist(), strict=True):
                    right.add(language, f"{name} {label}", hit)
        kinds = {name: (f"{name} 0", f"{name} 1") for name in ("accuracy", "without_regions")}
        return right.metrics(kinds)

    def object_words(self, names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Return the fraction of hidden names that are found, as wholes and by pieces, with and without regions."""
        patterns = {language: _pattern(words, language) for language, words in names.items() if words}
        right = _Counts()
        for batch, languages in self._batches("mlm", patterns):
            labels = batch["mlm_labels"]
            row_of, _ = (labels != -100).nonzero(as_tuple=True)
            for suffix, inputs in (("", batch), ("_without_regions", _without_regions(batch))):
                hits = self.model(**inputs, task="mlm").mlm_logits.argmax(dim=1) == labels[labels != -100]
                for row, language in enumerate(languages):
                    pieces = hits[row_of == row].tolist()
                    right.add(language, f"accuracy{suffix}", all(pieces))
                    for piece in pieces:
                        right.add(language, f"piece_accuracy{suffix}", piece)
        kinds = {"accuracy": ("accuracy",), "without_regions": ("accuracy_without_regions",)}
        return right.metrics(kinds | {name: (name,) for name in ("piece_accuracy", "piece_accuracy_without_regions")})

    def region_classes(self) -> dict[str, dict[str, float]]:
        """Return the fraction of hidden regions whose best class is found, with their own and with other words."""
        right, classes = _Counts(), defaultdict(list)
        background = self.model.config.region_background_index
        for batch, languages in self._batches("mrc"):
            wanted = _best_class(batch["mrc_labels"], background)
            row_of, _ = batch["masked_regions"].nonzero(as_tuple=True)
            others = {name: batch[name].roll(1, dims=0) for name in ("input_ids", "attention_mask")}
            for name, inputs in (("accuracy", batch), ("with_other_words", batch | others)):
                hits = _best_class(self.model(**inputs, task="mrc").mrc_logits, background) == wanted
                for row, hit in zip(row_of.tolist(), hits.tolist(), strict=True):
                    right.add(languages[row], name, hit)
            for row, label in zip(row_of.tolist(), wanted.tolist(), strict=True):
                classes[languages[row]].append(label)
                classes["all"].append(label)
        metrics = right.metrics({name: (name,) for name in ("accuracy", "with_other_words")})
        for language, labels in classes.items():
            count = metrics[language].pop("count")
            metrics[language] |= {"most_common": float(np.bincount(labels).max() / len(labels)), "count": count}
        return metrics

    def _batches(
        self, task: str, patterns: Mapping[str, re.Pattern[str]] | None = None
    ) -> Iterator[tuple[dict[str, Tensor], list[str]]]:
        """Yield batches and the language of each row; rows with bad regions, or without a name, are left out."""
        specs = draw_evaluation([self.corpus], task, max_examples=self.max_examples, seed=self.seed)
        examples = MLMMExamples([self.corpus], specs)
        # captions of one image are equally long: they must not meet, since words change places between rows
        order = np.random.default_rng(self.seed).permutation(len(specs)).tolist()
        device = self.model.device
        for start in range(0, len(order), BATCH_SIZE):
            rows = examples.__getitems__(order[start : start + BATCH_SIZE])
            if patterns is not None:
                rows = [
                    row for row in rows if row["language"] in patterns and _draw_name(row, patterns[row["language"]])
                ]
                if not rows:
                    continue
            try:
                kept, _ = self.collator.read_images(rows, with_class_probs=task == "mrc")
            except EmptyBatchError:  # they are counted
                continue
            batch = self.collator(kept)
            rows = [row for row in rows if any(row is one for one in kept)]
            if patterns is not None:
                batch |= self._hide(rows, [_draw_name(row, patterns[row["language"]]) for row in rows])
            tensors = {name: value.to(device) for name, value in batch.items() if isinstance(value, Tensor)}
            yield tensors, [row["language"] for row in rows]

    def _hide(self, rows: Sequence[MaskingExample], spans: Sequence[list[tuple[int, int]]]) -> dict[str, Tensor]:
        """Return the texts with all pieces masked that touch the spans of a row, and the labels."""
        texts = [row["text"] for row in rows]
        encoded = self.collator.processor(text=texts, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"].clone(), torch.as_tensor(encoded["offset_mapping"])
        hidden = torch.zeros_like(ids, dtype=torch.bool)
        for row, places in enumerate(spans):
            for start, end in places:
                hidden[row] |= (offsets[row, :, 0] < end) & (offsets[row, :, 1] > start)
        labels = ids.masked_fill(~hidden, -100)
        return {"input_ids": ids.masked_fill(hidden, self.tokenizer.mask_token_id), "mlm_labels": labels}


class _Counts:
    """Hits by language and name; "all" is a language too."""

    def __init__(self) -> None:
        self.hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))

    def add(self, language: str, name: str, hit: bool) -> None:
        """Count one."""
        for key in ("all", language):
            self.hits[key][name].append(hit)

    def metrics(self, kinds: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
        """Return the fraction of hits of each metric, as the mean over its names, and the `count` of "accuracy"."""
        metrics: dict[str, dict[str, float]] = {}
        for language, hits in self.hits.items():
            for kind, names in kinds.items():
                fraction = np.mean([np.mean(hits[name]) for name in names if name in hits])
                metrics.setdefault(language, {})[kind] = float(fraction)
            metrics[language]["count"] = sum(len(hits[name]) for name in kinds["accuracy"] if name in hits)
        return metrics


def _without_regions(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    zeros = {name: torch.zeros_like(batch[name]) for name in ("region_features", "region_boxes")}
    return {**batch, **zeros}


def _best_class(values: Tensor, background: int) -> Tensor:
    values = values.clone()
    values[:, background] = float("-inf")
    return values.argmax(dim=1)


def _pattern(names: Sequence[str], language: str) -> re.Pattern[str]:
    """Return a pattern of names, the longest first; without spaces between words one may stand in another."""
    longest_first = "|".join(map(re.escape, sorted(set(names), key=len, reverse=True)))
    return re.compile(longest_first if language in SPACELESS else rf"(?<!\w)(?:{longest_first})(?!\w)")


def _draw_name(row: MaskingExample, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return the places of one of the names in a caption, drawn by the row's seed; none if there is no name."""
    places = defaultdict(list)
    for match in pattern.finditer(row["text"]):
        places[match.group()].append(match.span())
    if not places:
        return []
    return places[sorted(places)[np.random.default_rng(row["seed"]).integers(len(places))]]


__all__ = ["evaluate_mlmm_pretraining"]
