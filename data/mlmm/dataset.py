"""One example of MLMM's pre-training: which caption, with which image, for which task."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..rows.types import MaskingExample
from .corpus import TASKS, MLMMCorpus


class ExampleSpec(NamedTuple):
    """An example before it is read.

    Attributes:
        corpus: its number.
        task: one of `TASKS`.
        language, caption: which of the corpus's captions.
        image: row of the corpus's regions: the caption's own, or a wrong one.
        itm_label: 1 = the image is the caption's own.
        length: tokens and regions.
        seed: of what is masked.
    """

    corpus: int
    task: str
    language: str
    caption: int
    image: int
    itm_label: int
    length: int
    seed: int


class MLMMExamples:
    """A dataset of examples for `MLMMPretrainingCollator`.

    Its keys are specifications, as `MLMMBatches` yields them; given a list of these, it has a length and numbers as
    keys too, as evaluation needs it.

    Args:
        corpora: what the specifications refer to.
        specs: of an evaluation, from `draw_evaluation`.
    """

    def __init__(self, corpora: Sequence[MLMMCorpus], specs: Sequence[ExampleSpec] = ()) -> None:
        self.corpora = list(corpora)
        self.specs = specs

    def __len__(self) -> int:
        return len(self.specs) or sum(map(len, self.corpora))

    def __getitem__(self, key: ExampleSpec | int) -> MaskingExample:
        """Return one example."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[ExampleSpec | int]) -> list[MaskingExample]:
        """Return the examples of a batch, the regions of a corpus read together."""
        specs = [key if isinstance(key, ExampleSpec) else self.specs[key] for key in keys]
        examples: dict[int, MaskingExample] = {}
        for number in {spec.corpus for spec in specs}:
            corpus, places = self.corpora[number], [at for at, spec in enumerate(specs) if spec.corpus == number]
            with_labels = any(specs[at].task == "mrc" for at in places)
            regions = corpus.read_images([specs[at].image for at in places], with_labels=with_labels)
            for at, row in zip(places, regions, strict=True):
                spec = specs[at]
                examples[at] = {
                    "task": spec.task,
                    "text": corpus.captions[spec.language].text(spec.caption),
                    "language": spec.language,
                    "regions": row,
                    "itm_label": spec.itm_label,
                    "seed": spec.seed,
                }
        return [examples[at] for at in range(len(specs))]


def draw_specs(
    corpora: Sequence[MLMMCorpus],
    number: int,
    task: str,
    captions: Sequence[tuple[str, np.ndarray]],
    rng: np.random.Generator,
) -> list[ExampleSpec]:
    """Return an example of each caption, given as (language, indices); for matching half of them have a wrong image.

    A wrong image is any other one of the corpus with captions, but none of the same group. Source: UNITER, UC2.
    """
    corpus = corpora[number]
    tables = [corpus.captions[language] for language, _ in captions]
    languages = [language for language, indices in captions for _ in indices]
    indices = np.concatenate([indices for _, indices in captions])
    images = np.concatenate([table.images[i] for table, (_, i) in zip(tables, captions, strict=True)])
    lengths = np.concatenate([table.lengths[i] for table, (_, i) in zip(tables, captions, strict=True)])
    labels = np.ones(len(indices), np.int64)
    if task == "itm":
        labels = rng.permutation(np.arange(len(indices)) % 2)
        wrong = labels == 0
        images[wrong] = _draw_others(corpus, images[wrong], rng)
    seeds = rng.integers(2**63, size=len(indices))
    lengths = lengths + corpus.region_counts[images]
    columns = (column.tolist() for column in (indices, images, labels, lengths, seeds))
    return [ExampleSpec(number, task, *values) for values in zip(languages, *columns, strict=True)]


def draw_evaluation(
    corpora: Sequence[MLMMCorpus], task: str, *, max_examples: int | None = None, seed: int = 0
) -> list[ExampleSpec]:
    """Return an example for every caption, or for as many drawn ones, the longest first: the same at every call.

    For matching, every second caption of a corpus gets a wrong image.

    Raises:
        ValueError: an unknown task, or one that no corpus has.
    """
    if task not in TASKS:
        raise ValueError(f"Unknown task {task!r}; there are {', '.join(TASKS)}.")
    specs: list[ExampleSpec] = []
    for number, corpus in enumerate(corpora):
        if task in corpus.tasks:
            captions = [(language, np.arange(len(table))) for language, table in corpus.captions.items()]
            rng = np.random.default_rng([seed, number, TASKS.index(task)])
            specs += draw_specs(corpora, number, task, captions, rng)
    if not specs:
        raise ValueError(f"No corpus has the task {task}.")
    if max_examples is not None and max_examples < len(specs):
        chosen = np.random.default_rng(seed).choice(len(specs), max_examples, replace=False)
        specs = [specs[index] for index in sorted(chosen)]
    return sorted(specs, key=lambda spec: -spec.length)


def _draw_others(corpus: MLMMCorpus, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image of another group for each."""
    groups = corpus.image_groups
    others = corpus.images[rng.integers(len(corpus.images), size=len(images))]
    while (same := groups[others] == groups[images]).any():
        others[same] = corpus.images[rng.integers(len(corpus.images), size=int(same.sum()))]
    return others


__all__ = ["ExampleSpec", "MLMMExamples", "draw_evaluation", "draw_specs"]
