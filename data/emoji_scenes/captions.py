"""Captions of a scene in seven languages: lists of nouns, so that no agreement, article or particle can go wrong.

No native speaker has read the templates.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..rows.languages import LANGUAGES
from ..rows.types import Scene
from .backgrounds import COLOURS
from .vocabulary import CLASS_NAMES, COLOUR_NAMES

CAPTION_KINDS = ("all", "sides", "sizes")


@dataclass(frozen=True)
class Grammar:
    """Templates of the captions of a language.

    Attributes:
        all: template of everything in the image, {i}, and the background's colour, {b}.
        sides: template of what is left, {l}, and right, {r}.
        sizes: template of what is big, {B}, and small, {S}.
        last: between the last two items of a list.
        separator: between two others.
        times: what follows the name of a class that occurs {n} times.
    """

    all: str
    sides: str
    sizes: str
    last: str
    separator: str = ", "
    times: str = " ×{n}"


GRAMMARS = {
    "zh": Grammar(
        all="图中有{i}，背景是{b}。",
        sides="左边：{l}；右边：{r}。背景：{b}。",
        sizes="大的：{B}；小的：{S}。背景：{b}。",
        separator="、",
        last="和",
        times="×{n}",
    ),
    "en": Grammar(
        all="Picture of {i}, {b} background.",
        sides="Left: {l}. Right: {r}. Background: {b}.",
        sizes="Big: {B}. Small: {S}. Background: {b}.",
        last=" and ",
    ),
    "de": Grammar(
        all="Bild: {i}. Hintergrund: {b}.",
        sides="Links: {l}. Rechts: {r}. Hintergrund: {b}.",
        sizes="Groß: {B}. Klein: {S}. Hintergrund: {b}.",
        last=" und ",
    ),
    "fr": Grammar(
        all="Image : {i}. Fond : {b}.",
        sides="À gauche : {l}. À droite : {r}. Fond : {b}.",
        sizes="En grand : {B}. En petit : {S}. Fond : {b}.",
        last=" et ",
    ),
    "cs": Grammar(
        all="Obrázek: {i}. Barva pozadí: {b}.",
        sides="Vlevo: {l}. Vpravo: {r}. Barva pozadí: {b}.",
        sizes="Velké: {B}. Malé: {S}. Barva pozadí: {b}.",
        last=" a ",
    ),
    "ja": Grammar(
        all="{i}の絵、背景は{b}。",
        sides="左：{l}。右：{r}。背景：{b}。",
        sizes="大きい：{B}。小さい：{S}。背景：{b}。",
        separator="、",
        last="と",
        times="×{n}",
    ),
    "ko": Grammar(
        all="그림: {i}. 배경: {b}.",
        sides="왼쪽: {l}. 오른쪽: {r}. 배경: {b}.",
        sizes="큰 것: {B}. 작은 것: {S}. 배경: {b}.",
        last=", ",
    ),
}


def write_captions(scene: Scene, rng: random.Random) -> tuple[list[str], dict[str, list[str]]]:
    """Return which of `CAPTION_KINDS` a scene has, and its captions of these kinds by language.

    All languages name the classes in the same random order. "sides" is there if something lies on both sides of the
    middle (of the centres of the boxes), "sizes" if something is big and something small.
    """
    objects, middle = scene["objects"], scene["image"].width / 2
    centre = [(one["bbox"][0] + one["bbox"][2]) / 2 for one in objects]
    order = list(dict.fromkeys(one["category_id"] for one in objects))
    rng.shuffle(order)
    parts = {
        "i": [one["category_id"] for one in objects],
        "l": [one["category_id"] for one, x in zip(objects, centre, strict=True) if x < middle],
        "r": [one["category_id"] for one, x in zip(objects, centre, strict=True) if x > middle],
        "B": [one["category_id"] for one in objects if one["size"] == "big"],
        "S": [one["category_id"] for one in objects if one["size"] == "small"],
    }
    has_kind = {"all": True, "sides": parts["l"] and parts["r"], "sizes": parts["B"] and parts["S"]}
    kinds = [kind for kind in CAPTION_KINDS if has_kind[kind]]
    captions = {}
    for language in LANGUAGES:
        words = {letter: _list_classes(ids, order, language) for letter, ids in parts.items()}
        words["b"] = COLOUR_NAMES[language][COLOURS.index(scene["background"])]
        captions[language] = [getattr(GRAMMARS[language], kind).format(**words) for kind in kinds]
    return kinds, captions


def _list_classes(category_ids: Iterable[int], order: list[int], language: str) -> str:
    grammar, counts = GRAMMARS[language], Counter(category_ids)
    items = [
        CLASS_NAMES[language][one] + (grammar.times.format(n=counts[one]) if counts[one] > 1 else "")
        for one in order
        if one in counts
    ]
    return grammar.separator.join(items[:-1]) + grammar.last * (len(items) > 1) + "".join(items[-1:])


__all__ = ["CAPTION_KINDS", "write_captions"]
