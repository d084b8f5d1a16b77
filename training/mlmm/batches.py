"""The options of MLMM's batches, and the sampler that they make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transformers import TrainingArguments

from ...data.mlmm.batch_sampler import CurriculumStage, MLMMBatches
from ...data.mlmm.corpus import MLMMCorpus
from ..option_conflicts import Overrules
from ..recipe_options import option


@dataclass
class BatchArguments:
    """Sizes of batches, in tokens with examples of like length, and the fraction hidden in them."""

    token_budget: int = option(10240, "word pieces and regions of a batch, with padding", low=1)
    bucket_size: int = option(8192, "examples sorted by length together", low=1)
    batch_multiple: int = option(8, "of which a batch's number of examples is one", low=1)
    language_temperature: float = option(
        1.0, "1: languages by their captions; the higher, the more equal", above=0, also=math.inf
    )
    masked_fraction: float = option(0.15, "of words and of regions", above=0, high=1)
    curriculum: list[dict] = option(
        [], "what comes first: mappings with steps, and perhaps tasks and languages, the only ones there"
    )

    OVERRULES: ClassVar = (
        Overrules("token_budget", ("per_device_train_batch_size",), lambda budget: True, "--token_budget"),
    )

    def stages(self) -> list[CurriculumStage]:
        """Return the curriculum.

        Raises:
            ValueError: a stage has a wrong key or value.
        """
        try:
            return [CurriculumStage(**stage) for stage in self.curriculum]
        except TypeError as error:
            raise ValueError(f"curriculum: {error}; a stage has steps, tasks and languages.") from error

    def sampler(self, corpora: Sequence[MLMMCorpus], args: TrainingArguments) -> MLMMBatches:
        """Return the batches of a run of `args.max_steps` steps."""
        return MLMMBatches(
            corpora,
            num_steps=args.max_steps,
            batches_per_step=args.gradient_accumulation_steps * args.world_size,
            token_budget=self.token_budget,
            bucket_size=self.bucket_size,
            multiple=self.batch_multiple,
            language_temperature=self.language_temperature,
            curriculum=self.stages(),
            seed=args.seed,
        )


__all__ = ["BatchArguments"]
