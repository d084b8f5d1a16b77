"""The base of fine-tuning to retrieval, whatever the model: data, settings, and what must fit before training."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from torch import nn
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback, TrainingArguments

from ...evaluation.retrieval.benchmark import RetrievalTest
from .arguments import RetrievalArguments, RetrievalData
from .trainer import Recalls, RetrievalTrainer

Part = Literal["validation", "test"]
PARTS: tuple[Part, ...] = ("validation", "test")


class RetrievalJob(ABC):
    """Data and settings of a model, checked before anything is trained.

    Attributes:
        kind: type of the model.
        saved_part: name of the submodule that is saved and evaluated; "" for all of it.
        processor: of the model.
        languages: of the training captions.
        tests: what is evaluated on, by part and language.
        leaked: number of training images that are left out, since they are evaluated on.
        report, summary: what is trained and evaluated on and what was left out, for a file and to be read.
    """

    kind: str
    saved_part: str
    processor: ProcessorMixin
    languages: list[str]
    tests: dict[Part, dict[str, RetrievalTest]]
    leaked: int

    def __init__(self, args: RetrievalArguments, data: RetrievalData) -> None:
        self.args, self.data = args, data
        self.report: dict[str, object] = {}
        self.summary: list[str] = []

    @abstractmethod
    def train(
        self, languages: Sequence[str], args: TrainingArguments, *, callbacks: Sequence[TrainerCallback] = ()
    ) -> RetrievalTrainer:
        """Return the trainer of a model for some languages."""

    @abstractmethod
    def describe_data(self, languages: Sequence[str]) -> dict[str, object]:
        """Return what identifies the training captions in some languages."""

    @abstractmethod
    def open(self, folder: str | Path) -> PreTrainedModel:
        """Return a saved model."""

    @abstractmethod
    def evaluate(
        self, model: nn.Module, part: Part, language: str, *, folder: Path | None = None, blind: bool = False
    ) -> Recalls:
        """Return the recalls of a model that `open` gave; `blind`: with regions of zeros.

        The folder keeps scores that take long, so that a killed run resumes.
        """

    @property
    def test_languages(self) -> list[str]:
        """The languages of the test captions, English first."""
        return sorted(self.tests.get("test", {}), key=lambda language: (language != "en", language))

    def validation_recalls(self, languages: Sequence[str]) -> Callable[[nn.Module], Recalls]:
        """Return a function from the model in training to its recalls on the validation images."""
        language = self.data.choose_validation(languages)
        return lambda model: self.evaluate(model.get_submodule(self.saved_part), "validation", language)

    def check(self, own: RetrievalArguments, args: TrainingArguments) -> None:
        """Raise ValueError for what would fail only after training with these arguments."""
        tested = set(self.test_languages)
        if own.evaluate_only:
            if not tested:
                raise ValueError("Give test_captions, and test_regions for an MLMM, to evaluate on.")
            return
        if not self.languages:
            raise ValueError("Give captions, and regions for an MLMM, to train on; or --evaluate_only true.")
        groups = own.groups(self.languages)
        if args.eval_strategy != "no":
            needed = {self.data.choose_validation(languages) for languages in groups.values()}
            if missing := sorted(needed - self.tests.get("validation", {}).keys()):
                raise ValueError(
                    f"No validation captions in {', '.join(missing)} to choose the best checkpoint by: give "
                    "validation_captions (and validation_regions), or --eval_strategy no --load_best_model_at_end "
                    "false."
                )
        if own.setting == "each" and tested and (missing := sorted(groups.keys() - tested)):
            raise ValueError(f"There are no test captions in {', '.join(missing)}.")


__all__ = ["PARTS", "Part", "RetrievalJob"]
