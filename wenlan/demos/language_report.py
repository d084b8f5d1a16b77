"""A report on the languages of a model: a table, the phrases that it fails, and an image of some phrases."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from transformers import PreTrainedModel

from ..analysis.plots.fonts import load_font
from ..analysis.plots.image_grid import CELL_WIDTH, LINE_SIZE, PLAIN, RIGHT, WRONG, Cell, draw_grid
from ..analysis.plots.text_layout import break_lines
from ..data.emoji7.phrases import Phrase, load_phrases
from ..data.rows.languages import LANGUAGES
from ..evaluation.zero_shot.embeddings import Emoji7Embeddings
from ..processing.processing_brivl import BriVLProcessor

# heading -> (kind of text, metrics of `evaluate_language`)
COLUMNS = {
    "name → image R@1, R@10": ("names", ("t2i_R@1", "t2i_R@10")),
    "image → name R@1, R@10": ("names", ("i2t_R@1", "i2t_R@10")),
    "keywords → image R@1, R@10": ("keywords", ("t2i_R@1", "t2i_R@10")),
    "phrase → image hit@1, hit@10, P@10": ("phrases", ("hit@1", "hit@10", "P@10")),
    "8 groups by one prompt": ("groups", ("top-1",)),
    "held concepts R@10, both ways": ("test_held", ("t2i_R@10", "i2t_R@10")),
}
SHOWN = (
    "an animal that lives in the sea",
    "something sweet for dessert",
    "tools for repairing things",
    "playing a musical instrument",
    "cars on the road",
    "fresh and healthy fruit",
    "sports with a ball",
)
NEAREST = 4


def language_table(results: Mapping[str, Any]) -> list[list[str]]:
    """Return a row of headings, one a language and one of chance, for the results of `evaluate_language`.

    With several languages there is the mean agreement of each with the others: how often a name, or a phrase, finds the
    same image first. Languages of which the tokenizer does not know a part show how much.
    """
    languages: Mapping[str, Any] = results["languages"]
    rows = [["language", *COLUMNS]]
    for language, metrics in languages.items():
        unknown = metrics["unknown_tokens"]
        name = f"{language} ({unknown:.0f} % of the tokens unknown)" if unknown >= 1 else language
        rows.append([name, *(_join(metrics[kind][name] for name in names) for kind, names in COLUMNS.values())])
    chance = [
        _join(_mean(metrics[kind][_chance(name)] for metrics in languages.values()) for name in names)
        for kind, names in COLUMNS.values()
    ]
    rows.append(["chance", *chance])
    if results["agreement"]:
        rows[0].append("agrees with the others: names, phrases")
        for row, language in zip(rows[1:-1], languages, strict=True):
            pairs = [pair for name, pair in results["agreement"].items() if language in name.split("-")]
            row.append(_join(_mean(pair[kind] for pair in pairs) for kind in ("names", "phrases")))
        pairs = list(results["agreement"].values())
        rows[-1].append(_join(_mean(pair[f"chance_{kind}"] for pair in pairs) for kind in ("names", "phrases")))
    return rows


def worst_phrases(results: Mapping[str, Any], count: int = 10) -> list[str]:
    """Return a line on each of the phrases whose first right image comes last, for results of `evaluate_language`."""
    worst = sorted(results["phrases"], key=lambda row: -row["rank"])[:count]
    return [
        f"{row['language']}: {row['text']} (first right image: number {row['rank']}) found {', '.join(row['found'])}"
        for row in worst
    ]


def draw_phrases(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    *,
    languages: Sequence[str] = LANGUAGES,
    phrases: Sequence[str] = SHOWN,
    embeddings: Emoji7Embeddings | None = None,
) -> Image.Image:
    """Draw a phrase a row and beside it the four nearest test images of emoji7, named, right ones in green.

    Args:
        model, processor: a `BriVLModel` and its processor.
        languages: of the rows, in turn.
        phrases: the English text of each.
        embeddings: of this model, where an evaluation has them already.

    Raises:
        ValueError: an English text that is no phrase of emoji7.
    """
    known = {phrase.texts["en"]: phrase for phrase in load_phrases()}
    if unknown := [text for text in phrases if text not in known]:
        raise ValueError(f"{unknown[0]!r} is no phrase of emoji7; the English texts are in data/emoji7/phrases.json.")
    embeddings = embeddings or Emoji7Embeddings(model, processor)
    chosen = [(known[text], languages[number % len(languages)]) for number, text in enumerate(phrases)]
    texts = embeddings.texts(phrase.texts[language] for phrase, language in chosen)
    nearest = np.argsort(-texts @ embeddings.images("test").T, axis=1)[:, :NEAREST].tolist()
    rows = [_draw_row(embeddings, *one, found) for one, found in zip(chosen, nearest, strict=True)]
    candidates = len(embeddings.images("test"))
    return draw_grid(f"phrase → the nearest of {candidates} images in an unseen style · 以句找图 · green: right", rows)


def _draw_row(embeddings: Emoji7Embeddings, phrase: Phrase, language: str, found: Sequence[int]) -> list[Cell]:
    hits = [embeddings.splits["test"][index] for index in found]
    colours = [RIGHT if hit["concept_id"] in phrase.right else WRONG for hit in hits]
    cells = [
        Cell(hit["image"], [(hit[f"name_{language}"], colour)], language)
        for hit, colour in zip(hits, colours, strict=True)
    ]
    lines = [(line, PLAIN) for line in [language, *_lines(phrase.texts[language], language)]]
    return [Cell(None, lines, language), *cells]


def _lines(text: str, language: str) -> list[str]:
    font = load_font(LINE_SIZE, language, text=text, weight="Regular")
    return [line for _, line in break_lines(text, font, CELL_WIDTH)]


def _chance(name: str) -> str:
    way, _, metric = name.rpartition("_")
    return f"{way}_chance_{metric}" if way else f"chance_{metric}"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _join(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


__all__ = ["draw_phrases", "language_table", "worst_phrases"]
