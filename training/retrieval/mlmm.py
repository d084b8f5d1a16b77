"""Fine-tuning MLMM to retrieval: regions and captions, examples of wrong pairs, and the evaluation."""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from ...data.captions.decontamination import Decontaminator
from ...data.files.image_ids import canonical_image_id
from ...data.files.model_folder import open_pretrained
from ...data.mlmm.corpus import MLMMCorpus
from ...data.mlmm.retrieval_dataset import MLMMRetrievalExamples
from ...data.regions.schema import RegionInfo
from ...evaluation.retrieval.benchmark import RetrievalTest
from ...evaluation.retrieval.mlmm import evaluate_mlmm_retrieval, make_retrieval_test
from ...modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ...processing.collators.mlmm_finetuning import MLMMRetrievalCollator
from ...processing.processing_mlmm import MLMMProcessor
from ..content_digest import digest_corpus, digest_regions
from ..mlmm.data import CorpusArguments, load_corpus, read_info, region_folders
from ..mlmm.model import MLMMArguments, load_processor
from .arguments import RetrievalArguments, RetrievalData
from .job import PARTS, Part, RetrievalJob
from .trainer import HardNegatives, Recalls, RetrievalTrainer


class MLMMRetrieval(RetrievalJob):
    """Fine-tune MLMM on regions and captions.

    Raises:
        FileNotFoundError, RegionShardError, TooManyBadRowsError: as `load_corpus`.
        ValueError: an unknown language, regions of another detector, no image left.
    """

    kind, saved_part = "mlmm", ""
    processor: MLMMProcessor

    def __init__(self, args: RetrievalArguments, data: RetrievalData) -> None:
        super().__init__(args, data)
        self.hard_negatives = HardNegatives.from_mapping(args.hard_negatives)
        parts = {name: part for name in ("training", "validation", "test") if (part := data.part(name)) is not None}
        info = read_info(list(parts.values()))
        self.processor = load_processor(MLMMArguments(init_from=args.init_from), info)
        self.corpora = {name: self._load(name, part) for name, part in parts.items()}
        self.tests = {name: self._tests(name, info) for name in PARTS if name in self.corpora}
        self.leaked = self._subtract_leaks()
        self.languages = list(self.corpora["training"].captions) if "training" in self.corpora else []

    def train(
        self, languages: Sequence[str], args: TrainingArguments, *, callbacks: Sequence[TrainerCallback] = ()
    ) -> RetrievalTrainer:
        """Return the trainer of a model for some languages, each of which comes as often as the others."""
        corpus, own = restrict(self.corpora["training"], languages), self.args
        num_wrong = own.num_wrong if self.hard_negatives is None else self.hard_negatives.pool
        examples = MLMMRetrievalExamples(corpus, num_wrong=num_wrong, even_languages=True, seed=args.seed)
        model = open_pretrained(
            MLMMForImageTextRetrieval,
            own.init_from,
            dtype=torch.float32,
            retrieval_loss=own.retrieval_loss,
            rank_margin=own.rank_margin,
        )
        return RetrievalTrainer(
            model,
            args,
            train_dataset=examples,
            eval_dataset=self.corpora.get("validation"),
            data_collator=MLMMRetrievalCollator(self.processor),
            compute_recalls=self.validation_recalls(languages),
            hard_negatives=self.hard_negatives,
            callbacks=list(callbacks),
        )

    def describe_data(self, languages: Sequence[str]) -> dict[str, object]:
        """Return what identifies the training captions in some languages."""
        part = self.data.part("training")
        assert part is not None  # there are languages
        captions = digest_corpus(restrict(self.corpora["training"], languages))
        return {"captions": {"digest": captions}, "regions": {"digest": digest_regions(region_folders(part))}}

    def open(self, folder: str | Path) -> MLMMForImageTextRetrieval:
        """Return a saved model."""
        return open_pretrained(MLMMForImageTextRetrieval, folder, is_whole=True, dtype=torch.float32)

    def evaluate(
        self, model: nn.Module, part: Part, language: str, *, folder: Path | None = None, blind: bool = False
    ) -> Recalls:
        """Return the recalls of a model, see `RetrievalJob`; the scores of all pairs are kept below the folder."""
        assert isinstance(model, MLMMForImageTextRetrieval)
        return evaluate_mlmm_retrieval(
            model,
            self.processor,
            self.corpora[part],
            self.tests[part][language],
            folds=self.data.test_folds if part == "test" else 1,
            folder=folder,
            name=language + ("-blind" if blind else ""),
            batch_size=self.args.scoring_batch_size,
            dtype=getattr(torch, self.args.scoring_dtype),
            blind=blind,
            progress=part == "test",
        )

    def _load(self, name: str, part: Mapping[str, object]) -> MLMMCorpus:
        # long captions of a test are cut, as a search would: left out, they would make the test an easier one
        length = self.processor.max_text_length if name == "training" else sys.maxsize
        limits = CorpusArguments(on_bad_shard=self.data.on_bad_shard, max_bad_fraction=self.data.max_bad_fraction)
        corpus, report = load_corpus({**part, "name": name}, limits, self.processor.tokenizer, max_text_length=length)
        self.report[name] = report.to_dict()
        self.summary.append(str(report))
        return corpus

    def _tests(self, part: Part, info: RegionInfo) -> dict[str, RetrievalTest]:
        limit = self.data.test_images if part == "test" else self.data.validation_images
        corpus, tests = self.corpora[part], {}
        for language in corpus.captions:
            tests[language], bad = make_retrieval_test(
                *(corpus, language),
                caption=self.data.test_caption,
                max_images=limit,
                feature_dim=info.feature_dim,
                max_bad_fraction=self.data.max_bad_fraction,
            )
            tests[language].folds(self.data.test_folds if part == "test" else 1)
        if bad:
            self.summary.append(f"{part}: images left out: {dict(bad)}")
        self.report[f"{part}_left_out"] = dict(bad)
        return tests

    def _subtract_leaks(self) -> int:
        """Take the images of validation and test out of the training captions; return how many it took."""
        if "training" not in self.corpora:
            return 0
        from datasets import Dataset

        names: dict[str, list[str]] = {}
        for name, corpus in self.corpora.items():
            assert isinstance(corpus.regions, Dataset)  # as `load_corpus` makes it
            names[name] = [canonical_image_id(one) for one in corpus.regions.with_format(None)["image_id"]]
        guard = Decontaminator()
        for part in self.tests:
            guard.add_images(part, (names[part][place] for place in self.corpora[part].images))
        corpus = self.corpora["training"]
        leaked = [place for place in corpus.images.tolist() if guard.is_leak("training", names["training"][place])]
        self.corpora["training"] = restrict(corpus, list(corpus.captions), without=leaked)
        return len(leaked)


def restrict(corpus: MLMMCorpus, languages: Sequence[str], *, without: Sequence[int] = ()) -> MLMMCorpus:
    """Return the corpus with the captions of these languages alone, less those of some images.

    Raises:
        ValueError: a language has no captions (left).
    """
    captions = {}
    for language in languages:
        table = corpus.captions.get(language)
        if table is None or not (stays := ~np.isin(table.images, without)).any():
            raise ValueError(f"{corpus.name} has no caption in {language!r}, only in {', '.join(corpus.captions)}.")
        rows, images, lengths = table.rows[stays], table.images[stays], table.lengths[stays]
        captions[language] = replace(table, rows=rows, images=images, lengths=lengths)
    restricted = copy.copy(corpus)
    restricted.captions = captions
    restricted.images = np.unique(np.concatenate([table.images for table in captions.values()]))
    return restricted


__all__ = ["MLMMRetrieval", "restrict"]
