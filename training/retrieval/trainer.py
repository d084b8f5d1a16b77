"""A `Trainer` of retrieval that learns from the hardest wrong pairs, and evaluates recalls while it trains."""

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from ...processing.collators.brivl import ContrastiveCollator
from ...processing.collators.mlmm_finetuning import MLMMRetrievalCollator
from ..checkpoints.atomic_trainer import AtomicCheckpointTrainer

Recalls = dict[str, float | list[float]]  # in percent by name; `interval` has two numbers
CHUNK = 256  # pairs scored at a time while hard ones are looked for


@dataclass(frozen=True)
class HardNegatives:
    """Numbers of wrong images, and wrong captions, of a caption that are scored, and of the hardest that are kept.

    Source: UNITER, 399 and 31.

    Raises:
        ValueError: more are to be kept than there are, or none.
    """

    pool: int
    keep: int

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= self.pool:
            raise ValueError(f"hard_negatives keeps {self.keep} of a pool of {self.pool}; keep 1 or more of them.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, int]) -> "HardNegatives | None":
        """Return them from a recipe's mapping, None for an empty one.

        Raises:
            ValueError: a key is missing or unknown, or a value is none.
        """
        known = {field.name for field in fields(cls)}
        if values and (values.keys() != known or any(type(value) is not int for value in values.values())):
            raise ValueError(f"hard_negatives is {dict(values)}; give whole numbers for pool and keep.")
        return cls(**values) if values else None


class RetrievalTrainer(AtomicCheckpointTrainer):
    """Train a model on groups of pairs, or on whatever its collator gives.

    Args:
        compute_recalls: model -> metrics, where other trainers evaluate; `mean_recall` may choose a checkpoint.
        hard_negatives: None: all wrong pairs are learnt from.
        The rest: as for `Trainer`.
    """

    train_dataset: Sized
    data_collator: ContrastiveCollator | MLMMRetrievalCollator

    def __init__(
        self,
        *args: Any,
        compute_recalls: Callable[[nn.Module], Recalls],
        hard_negatives: HardNegatives | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.compute_recalls, self.hard_negatives = compute_recalls, hard_negatives

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """Return the loss of the batch without all but the hardest wrong pairs."""
        if self.hard_negatives is not None and model.training:
            inputs = keep_hardest(self.accelerator.unwrap_model(model), inputs, self.hard_negatives.keep)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return and log what `compute_recalls` says of the model."""
        recalls = self.compute_recalls(self.accelerator.unwrap_model(self.model))
        numbers = {name: value for name, value in recalls.items() if isinstance(value, float) and "chance" not in name}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in numbers.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.no_grad()
def keep_hardest(model: nn.Module, inputs: Mapping[str, Tensor], keep: int) -> dict[str, Tensor]:
    """Return the batch with the matching pair of each group and the `keep` best scored of both kinds of wrong pairs.

    The model scores the pairs of an `MLMMRetrievalCollator` without gradient and without dropout. The two kinds are
    wrong images of each caption, and wrong captions of its image.
    """
    pairs = {name: value for name, value in inputs.items() if name != "labels"}
    was_training = model.training
    model.eval()
    count = len(inputs["labels"])
    chunks = [{name: value[at : at + CHUNK] for name, value in pairs.items()} for at in range(0, count, CHUNK)]
    scores = torch.cat([model(**chunk).scores.float() for chunk in chunks])
    model.train(was_training)
    is_right = inputs["labels"] == 1
    group = is_right.cumsum(0) - 1
    own_text = inputs["input_ids"][is_right][group]
    has_own_text = (inputs["input_ids"] == own_text).all(dim=1)
    # Hardest first within each group, matching pairs apart from wrong images and from wrong captions.
    kind = torch.where(is_right, 0, torch.where(has_own_text, 1, 2)) + 3 * group
    order = scores.argsort(descending=True, stable=True)
    order = order[kind[order].argsort(stable=True)]
    first = torch.searchsorted(kind[order], kind[order])  # where the kind of each begins
    rank = torch.arange(count, device=scores.device) - first
    kept = order[rank < keep]
    return {name: value[kept] for name, value in inputs.items()}


__all__ = ["HardNegatives", "Recalls", "RetrievalTrainer", "keep_hardest"]
