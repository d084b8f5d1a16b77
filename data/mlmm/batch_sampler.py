"""The batches of MLMM's pre-training: one task a step, examples of like length, the same again from the same seed.

Source of the token budget: UNITER and UC2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from torch.utils.data import Sampler

from ..rows.languages import check_languages
from .corpus import TASKS, MLMMCorpus
from .dataset import ExampleSpec, draw_specs

# first number of a seed sequence: what is drawn
STEP, POOL, ORDER = range(3)


@dataclass(frozen=True)
class CurriculumStage:
    """Steps that leave out tasks or languages, so that a small model first learns what words have to do with images.

    Args:
        steps: optimizer steps.
        tasks: those that there are; None: all.
        languages: those that there are; None: all.

    Raises:
        ValueError: no step, or an unknown task or language.
    """

    steps: int
    tasks: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("tasks", "languages"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"A stage of the curriculum has {self.steps!r} steps; give 1 or more.")
        if unknown := [task for task in self.tasks or () if task not in TASKS]:
            raise ValueError(f"A stage of the curriculum has unknown tasks {unknown}; there are {', '.join(TASKS)}.")
        check_languages(self.languages)

    def includes_task(self, task: str) -> bool:
        """Return True if the stage has this task."""
        return self.tasks is None or task in self.tasks

    def includes_language(self, language: str) -> bool:
        """Return True if the stage has this language."""
        return self.languages is None or language in self.languages


@dataclass(eq=False)
class MLMMBatches(Sampler[list[ExampleSpec]]):
    """A `batch_sampler` for `MLMMExamples`: all batches of a training, as lists of examples.

    For each optimizer step a corpus and one of its tasks are drawn by their weights; all micro-batches of the step, on
    all ranks, have this task. A batch mixes the languages of its corpus. The captions of a corpus are seen in random
    order, pass after pass, by each task on its own.

    Everything follows from `seed` and the number of the step, so a resumed run, which skips the batches it has seen,
    resumes exactly; the whole training is one epoch. accelerate hands consecutive batches to consecutive ranks.

    Attributes:
        corpora: with their tasks and weights.
        num_steps: optimizer steps.
        batches_per_step: micro-batches of a step: gradient accumulation steps x ranks.
        token_budget: most word pieces and regions of a batch, padding included.
        bucket_size: examples that are sorted by length together; fewer vary the batches more and pad more.
        multiple: of which the number of examples of a batch is one.
        language_temperature: a language is drawn in proportion to (its captions) ** (1 / temperature): 1 takes every
            caption equally often, infinity every language.
        curriculum: stages that come first, one after the other; then come all tasks and languages.
        seed: of all draws.

    Raises:
        ValueError: no corpus, none with the tasks and languages of a stage, numbers out of range, or a budget too
            small for the longest examples.
    """

    corpora: Sequence[MLMMCorpus]
    _: KW_ONLY
    num_steps: int
    batches_per_step: int = 1
    token_budget: int = 10240
    bucket_size: int = 8192
    multiple: int = 8
    language_temperature: float = 1.0
    curriculum: Sequence[CurriculumStage] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("num_steps", "batches_per_step", "multiple", "token_budget", "bucket_size")
        if bad := {name: value for name in positive if (value := getattr(self, name)) < 1}:
            raise ValueError(f"These must be 1 or more: {bad}.")
        if not self.corpora:
            raise ValueError("There is no corpus to draw batches from.")
        if not self.language_temperature > 0:
            raise ValueError(f"language_temperature is {self.language_temperature}; it must be above 0.")
        for corpus in self.corpora:
            if (needed := corpus.longest * self.multiple) > self.token_budget:
                raise ValueError(
                    f"token_budget={self.token_budget} does not hold {self.multiple} examples of {corpus.longest} "
                    f"tokens and regions, the longest of {corpus.name}; give {needed} or more."
                )
        self._ends = np.cumsum([stage.steps for stage in self.curriculum])
        self._weights = [self._weigh(stage) for stage in (*self.curriculum, CurriculumStage(self.num_steps))]

    def __len__(self) -> int:
        """Return the number of batches, of all steps and ranks."""
        return self.num_steps * self.batches_per_step

    def __iter__(self) -> Iterator[list[ExampleSpec]]:
        streams: dict[tuple[int, str, Sequence[str] | None], Iterator[list[ExampleSpec]]] = {}
        for step in range(self.num_steps):
            stage = self._stage(step)
            languages = self.curriculum[stage].languages if stage < len(self.curriculum) else None
            choice = *self.draw_task(step), languages
            if choice not in streams:
                streams[choice] = self._stream(*choice)
            for _ in range(self.batches_per_step):
                yield next(streams[choice])

    def draw_task(self, step: int) -> tuple[int, str]:
        """Return the number of the corpus and the task of an optimizer step."""
        weights = self._weights[self._stage(step)]
        rng = np.random.default_rng([self.seed, STEP, step])
        return list(weights)[rng.choice(len(weights), p=np.array(list(weights.values())) / sum(weights.values()))]

    def _stage(self, step: int) -> int:
        return int(np.searchsorted(self._ends, step, side="right"))

    def _weigh(self, stage: CurriculumStage) -> dict[tuple[int, str], int]:
        """Return the weights of the corpora's tasks in a stage."""
        weights = {
            (number, task): weight
            for number, corpus in enumerate(self.corpora)
            for task, weight in corpus.tasks.items()
            if stage.includes_task(task) and any(map(stage.includes_language, corpus.captions))
        }
        if not weights:
            raise ValueError(f"No corpus has the tasks and languages of this stage of the curriculum: {stage}.")
        return weights

    def _stream(self, number: int, task: str, only: Sequence[str] | None) -> Iterator[list[ExampleSpec]]:
        """Yield the batches of one task on one corpus, in some languages or all, without end."""
        corpus, place = self.corpora[number], [number, TASKS.index(task)]
        captions = {
            language: _Shuffled(len(table), [self.seed, ORDER, *place, index])
            for index, (language, table) in enumerate(corpus.captions.items())
            if only is None or language in only
        }
        sizes = np.array([len(corpus.captions[language]) for language in captions], dtype=float)
        fractions = sizes ** (1 / self.language_temperature)
        pool_size, pool = min(self.bucket_size, int(sizes.sum())), 0
        while True:
            rng = np.random.default_rng([self.seed, POOL, *place, pool])
            counts = rng.multinomial(pool_size, fractions / fractions.sum())
            taken = [(language, captions[language].take(n)) for language, n in zip(captions, counts, strict=True)]
            specs = draw_specs(self.corpora, number, task, taken, rng)
            order = rng.permutation(len(specs))  # else equal lengths would lie by language
            lengths = np.array([specs[index].length for index in order])
            batches = token_budget_batches(lengths, token_budget=self.token_budget, multiple=self.multiple)
            for index in rng.permutation(len(batches)):
                yield [specs[order[at]] for at in batches[index]]
            pool += 1


class _Shuffled:
    """The numbers below `size` in random order, pass after pass."""

    def __init__(self, size: int, seed: Sequence[int]) -> None:
        self.size, self.seed, self.passes = size, seed, 0
        self.rest = np.zeros(0, np.uint32)

    def take(self, count: int) -> np.ndarray:
        """Return the next so many."""
        taken = [self.rest[:count]]
        self.rest = self.rest[count:]
        while (missing := count - sum(map(len, taken))) > 0:
            order = np.random.default_rng([*self.seed, self.passes]).permutation(self.size).astype(np.uint32)
            self.passes += 1
            taken.append(order[:missing])
            self.rest = order[missing:]
        return np.concatenate(taken)


def token_budget_batches(lengths: np.ndarray, *, token_budget: int, multiple: int = 8) -> list[np.ndarray]:
    """Return the indices of a bucket of examples as batches, longest first.

    As in the references the longest example decides for its whole bucket how many make a batch: as many as fit into the
    budget with padding, rounded down to a multiple. The last batch may be smaller.

    Args:
        lengths: (m,) tokens of each example, words and regions.
        token_budget: most tokens of a batch, padding included.
        multiple: of which the number of examples is one.

    Raises:
        ValueError: `multiple` examples of the greatest length do not fit into the budget.
    """
    lengths = np.asarray(lengths)
    if len(lengths) == 0:
        return []
    longest = int(lengths.max())
    size = token_budget // longest // multiple * multiple
    if size == 0:
        raise ValueError(
            f"A budget of {token_budget} tokens holds no {multiple} examples of {longest} tokens; "
            f"give {longest * multiple} or more."
        )
    order = np.argsort(-lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def padding_fraction(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """Return the fraction of a batch's tokens that is padding, over all batches."""
    lengths = np.asarray(lengths)
    real = sum(int(lengths[batch].sum()) for batch in batches)
    return 1 - real / sum(len(batch) * int(lengths[batch].max()) for batch in batches)


__all__ = ["CurriculumStage", "MLMMBatches", "padding_fraction", "token_budget_batches"]
