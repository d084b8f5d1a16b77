"""Fine-tuning BriVL to retrieval: its own contrastive pre-training, on pairs, evaluated as MLMM is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from ...data.captions.decontamination import PathDecontaminator
from ...data.files.model_folder import PROCESSOR, open_pretrained
from ...data.pairs.dataset import TrainingPairs
from ...data.pairs.load import read_pairs
from ...data.rows.vocabulary import check_vocabulary
from ...evaluation.retrieval.benchmark import RetrievalTest, choose_captions, evaluate_folds
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...modeling_brivl.momentum_queue_callback import MomentumQueueCallback
from ...pipelines.embedding import embed_images, embed_texts
from ...processing.collators.brivl import ContrastiveCollator
from ...processing.image_decoding import decode_image
from ...processing.processing_brivl import BriVLProcessor
from ..brivl.model import ModelArguments, build_model
from ..content_digest import DigestedImages, digest_rows, digest_values
from ..mlmm.data import caption_files
from .arguments import RetrievalArguments, RetrievalData
from .job import PARTS, Part, RetrievalJob
from .trainer import Recalls, RetrievalTrainer

if TYPE_CHECKING:
    from datasets import Dataset


class BriVLRetrieval(RetrievalJob):
    """Fine-tune a BriVL, which looks at images: they lie where the caption files say."""

    kind, saved_part = "brivl", "brivl"  # of the pre-training model the query towers
    processor: BriVLProcessor

    def __init__(self, args: RetrievalArguments, data: RetrievalData) -> None:
        super().__init__(args, data)
        self.processor = open_pretrained(BriVLProcessor, args.init_from, file=PROCESSOR)
        parts = {name: data.part(name, needs_regions=False) for name in ("training", "validation", "test")}
        self.images = {name: DigestedImages() for name in parts}
        self.rows = {name: self._read(name, part) for name, part in parts.items() if part is not None}
        self.tests = {
            name: {language: self._test(name, rows) for language, rows in self.rows[name].items()}
            for name in PARTS
            if name in self.rows
        }
        self.leaked = self._subtract_leaks()
        self.languages = list(self.rows.get("training", {}))

    def train(
        self, languages: Sequence[str], args: TrainingArguments, *, callbacks: Sequence[TrainerCallback] = ()
    ) -> RetrievalTrainer:
        """Return the trainer of a model for some languages, each of which comes as often as the others."""
        from datasets import concatenate_datasets

        model, _ = build_model(ModelArguments(init_from=self.args.init_from), [])
        chosen = [self.rows["training"][language] for language in languages]
        most = max(map(len, chosen))
        rows = concatenate_datasets([one.select(np.arange(most) % len(one)) for one in chosen])
        return RetrievalTrainer(
            model,
            args,
            train_dataset=TrainingPairs(rows, group_column="image_number", seed=args.seed),
            eval_dataset=self.rows.get("validation"),
            data_collator=ContrastiveCollator(self.processor),
            compute_recalls=self.validation_recalls(languages),
            callbacks=[MomentumQueueCallback(), *callbacks],
        )

    def describe_data(self, languages: Sequence[str]) -> dict[str, object]:
        """Return what identifies the training captions in some languages."""
        rows = [digest_rows(self.rows["training"][language]) for language in languages]
        return {"captions": {"digest": digest_values(rows)}, "images": {"digest": self.images["training"].digest}}

    def open(self, folder: str | Path) -> BriVLModel:
        """Return a saved model."""
        return open_pretrained(BriVLModel, folder, dtype=torch.float32)

    def evaluate(
        self, model: nn.Module, part: Part, language: str, *, folder: Path | None = None, blind: bool = False
    ) -> Recalls:
        """Return the recalls of a model, see `RetrievalJob`; no scores are kept."""
        assert isinstance(model, BriVLModel)
        test, size = self.tests[part][language], self.args.scoring_batch_size
        scored = []
        for fold in test.folds(self.data.test_folds if part == "test" else 1):
            images = embed_images(model, self.processor, fold.images, batch_size=size)
            texts = embed_texts(model, self.processor, fold.texts, batch_size=size)
            scored.append(((texts @ images.T).numpy(), fold.owners))
        return evaluate_folds(scored)

    def _read(self, name: str, part: Mapping[str, Any]) -> "dict[str, Dataset]":
        """Return language -> rows with `image` (a path), `text` (a list) and `image_number`, the same in all."""
        import datasets

        numbers: dict[str, int] = {}
        rows, reports = {}, {}
        for language, file in caption_files(part["captions"]).items():
            found, report = read_pairs(file, check_image=self.images[name], max_bad_fraction=self.data.max_bad_fraction)
            found = found.cast_column("image", datasets.Image(decode=False))
            paths = [image["path"] for image in found["image"]]
            own_numbers = [numbers.setdefault(path, len(numbers)) for path in paths]
            rows[language] = found.add_column("image_number", own_numbers)
            texts = [text for row in found["text"] for text in ([row] if isinstance(row, str) else row)]
            limit = self.processor.max_text_length
            check_vocabulary(self.processor.tokenizer, texts, max_tokens=limit, what=f"captions in {language}")
            reports[language] = {"rows": report.rows_kept, "left_out": dict(report.counts)}
        self.report[name] = reports
        self.summary.append(f"{name}: images with captions in " + ", ".join(f"{k} {len(v)}" for k, v in rows.items()))
        return rows

    def _test(self, part: Part, rows: "Dataset") -> RetrievalTest:
        limit = (self.data.test_images if part == "test" else self.data.validation_images) or len(rows)
        chosen = rows.select(range(min(limit, len(rows))))
        lists = [[text] if isinstance(text, str) else text for text in chosen["text"]]
        images = [place for place, texts in enumerate(lists) for _ in texts]
        texts = [text for texts in lists for text in texts]
        texts, owners, places = choose_captions(images, texts, range(len(chosen)), caption=self.data.test_caption)
        paths = [image["path"] for image in chosen["image"]]
        test = RetrievalTest(texts, owners, [paths[place] for place in places])
        test.folds(self.data.test_folds if part == "test" else 1)
        return test

    def _subtract_leaks(self) -> int:
        """Take the images of validation and test out of the training pairs; return how many it took."""
        guard = PathDecontaminator(decode_image)
        for name, tests in self.tests.items():
            guard.add_images(name, {path for test in tests.values() for path in test.images})
        for language, rows in self.rows.get("training", {}).items():
            stays = [row for row, image in enumerate(rows["image"]) if not guard.is_leak(language, image["path"])]
            if not stays:
                raise ValueError(f"All training images with captions in {language!r} are evaluated on, too.")
            self.rows["training"][language] = rows.select(stays)
        namesakes = guard.namesakes
        self.report["namesakes_kept"] = len(namesakes)
        if namesakes:
            self.summary.append(
                f"training: {len(namesakes)} images, such as {min(namesakes)}, have the name of one that is evaluated "
                "on but look different; they stay"
            )
        return guard.num_removed


__all__ = ["BriVLRetrieval"]
