"""Mirrored twins: a scene with left and right swapped, and sentences that are true of one of the two.

Nothing but the place of the things tells twins apart. The templates need no agreement, article or case, as those of the
captions; no native speaker has read them.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

from ..rows.languages import LANGUAGES
from ..rows.types import Scene, SceneObject, SceneRow
from .dataset import EVALUATION_SPLITS, Preset, generate_scenes, text_seed
from .questions import CLEARANCE
from .scene import CANVAS
from .vocabulary import CLASS_NAMES, SCENE_CLASSES

TWIN_KIND = "relations"
TWIN_STEP = 10_000_000  # from the `image_id` of a scene to that of its twin: beyond all splits
SENTENCES = 3  # of a scene at most
# {x} is what lies on that side of {y}
RELATIONS = {
    "zh": {"left": "{x}在{y}的左边。", "right": "{x}在{y}的右边。"},
    "en": {"left": "The {x} is left of the {y}.", "right": "The {x} is right of the {y}."},
    "de": {"left": "{x} links, {y} rechts.", "right": "{x} rechts, {y} links."},
    "fr": {"left": "{x} à gauche, {y} à droite.", "right": "{x} à droite, {y} à gauche."},
    "cs": {"left": "{x} vlevo, {y} vpravo.", "right": "{x} vpravo, {y} vlevo."},
    "ja": {"left": "{x}は{y}の左にあります。", "right": "{x}は{y}の右にあります。"},
    "ko": {"left": "{y}의 왼쪽에 {x}.", "right": "{y}의 오른쪽에 {x}."},
}
OTHER_SIDE = {"left": "right", "right": "left"}
ClassPair = frozenset[int]


def mirror_scene(scene: Scene) -> Scene:
    """Return the scene with left and right swapped; mirrored once more, it is the same again."""
    from PIL.Image import Transpose

    width = float(scene["image"].width)

    def mirror(one: SceneObject) -> SceneObject:
        x1, y1, x2, y2 = one["bbox"]
        return {**one, "bbox": [width - x2, y1, width - x1, y2], "flipped": not one["flipped"], "angle": -one["angle"]}

    image = scene["image"].transpose(Transpose.FLIP_LEFT_RIGHT)
    return {**scene, "image": image, "objects": [mirror(one) for one in scene["objects"]]}


def generate_twins(
    split: str, size: int | Preset = "cpu", *, num_classes: int = len(SCENE_CLASSES), canvas: int = CANVAS
) -> Iterator[SceneRow]:
    """Yield those scenes of a split that have a `relations` sentence, each followed by its twin.

    What the sentences of an evaluation split name occurs together in one scene alone, so that it is the only right one.

    Raises:
        ValueError: as `generate_scenes`, or there is no such scene.
    """
    options = {"num_classes": num_classes, "canvas": canvas}
    counts = None
    if split in EVALUATION_SPLITS:
        counts = Counter(pair for scene in generate_scenes(split, size, **options) for pair in class_pairs(scene))
    found = False
    for index, scene in enumerate(generate_scenes(split, size, **options)):
        rows = twin_rows(scene, random.Random(text_seed(split, index)), counts=counts)
        found = found or bool(rows)
        yield from rows
    if not found:
        raise ValueError(f"No scene of {split} has two things that a sentence could be about; draw more scenes.")


def twin_id(image_id: int) -> int:
    """Return the `image_id` of the twin of a scene, and of a twin that of the scene."""
    return image_id + (TWIN_STEP if image_id < TWIN_STEP else -TWIN_STEP)


def class_pairs(scene: Scene) -> set[ClassPair]:
    """Return every two classes that occur in a scene together."""
    return set(map(frozenset, combinations({one["category_id"] for one in scene["objects"]}, 2)))


def twin_rows(scene: SceneRow, rng: random.Random, *, counts: Mapping[ClassPair, int] | None = None) -> list[SceneRow]:
    """Return a scene and its mirrored twin with sentences about where two things lie, or nothing if there is none.

    A sentence is about two things, the only ones of their class, whose centres are more than `CLEARANCE` pixels apart.
    The twin has the same sentences with the other side. `captions` holds one to `SENTENCES` in each language, and
    `caption_kinds` says so.

    Args:
        scene: a row of EmojiScenes.
        rng: decides which things are named, and in which order.
        counts: in how many scenes two classes occur together; if given, only what occurs once is named.
    """
    number = Counter(one["category_id"] for one in scene["objects"])
    single = [one for one in scene["objects"] if number[one["category_id"]] == 1]
    rng.shuffle(single)
    pairs = [
        (one, other)
        for one, other in combinations(single, 2)
        if abs(_centre(one) - _centre(other)) > CLEARANCE
        and (counts is None or counts[frozenset((one["category_id"], other["category_id"]))] == 1)
    ]
    pairs = rng.sample(pairs, min(len(pairs), SENTENCES))
    if not pairs:
        return []
    sides = ["left" if _centre(one) < _centre(other) else "right" for one, other in pairs]
    twin = SceneRow(**{**scene, **mirror_scene(scene)})
    twin["image_id"] = twin_id(scene["image_id"])
    return [
        _with_sentences(scene, pairs, sides),
        _with_sentences(twin, pairs, [OTHER_SIDE[side] for side in sides]),
    ]


def _with_sentences(scene: SceneRow, pairs: list[tuple[SceneObject, SceneObject]], sides: list[str]) -> SceneRow:
    captions = {}
    for language in LANGUAGES:
        names = CLASS_NAMES[language]
        captions[language] = [
            RELATIONS[language][side].format(x=names[one["category_id"]], y=names[other["category_id"]])
            for (one, other), side in zip(pairs, sides, strict=True)
        ]
    return {**scene, "captions": captions, "caption_kinds": [TWIN_KIND] * len(pairs)}


def _centre(one: SceneObject) -> float:
    return (one["bbox"][0] + one["bbox"][2]) / 2


__all__ = ["SENTENCES", "TWIN_KIND", "generate_twins", "mirror_scene", "twin_id", "twin_rows"]
