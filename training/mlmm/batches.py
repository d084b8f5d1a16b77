"""The options of MLMM's batches, and the sampler that they make."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import TrainingArguments

from ...data.mlmm.batch_sampler import CurriculumStage, MLMMBatches
from ...data.mlmm.corpus import MLMMCorpus


@dataclass
class BatchArguments:
    """How batches are filled, by tokens with examples of like length, and what is hidden in them."""

    token_budget: int = field(default=10240, metadata={"help": "word pieces and regions of a batch, with padding"})
    bucket_size: int = field(default=8192, metadata={"help": "examples sorted by length together"})
    batch_multiple: int = field(default=8, metadata={"help": "of which a batch's number of examples is one"})
    language_temperature: float = field(
        default=1.0, metadata={"help": "1: languages by their captions; the higher, the more equal"}
    )
    masked_fraction: float = field(default=0.15, metadata={"help": "of words and of regions"})
    curriculum: list[dict] = field(
        default_factory=list,
        metadata={
            "help": "what comes first: mappings with steps, and perhaps tasks and languages, the only ones there"
        },
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
