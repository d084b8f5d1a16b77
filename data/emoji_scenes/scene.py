"""One scene from one integer: a background and two to six objects whose boxes do not overlap."""

import random
from collections import Counter
from collections.abc import Sequence

from ..rows.types import Scene, SceneObject
from .backgrounds import BACKGROUND_KINDS, COLOURS, draw_background
from .objects import STYLES, TRAIN_STYLES, draw_object, styles_of_class
from .vocabulary import ATTRIBUTE_NAMES, SCENE_CLASSES

CANVAS = 192
MIN_CANVAS = 128
MAX_CANVAS = 2048
NUM_OBJECTS = {2: 1, 3: 2, 4: 2, 5: 1, 6: 1}  # how many -> weight
REPEATED = 0.55  # probability that a class occurs more than once, in scenes of three and more
SIDES = {"big": (60, 72), "small": (30, 38)}  # pixels of the longest side
FLIPPED = 0.3
MAX_ANGLE = 12.0
TRIES = 60  # to find room for an object
LONG = 1.25  # one side is this many times the other: wide or tall
REDRAW_STEP = 1_000_000_007  # from the seed of a scene to the next one, if it has to be drawn anew
MAX_REDRAWS = 1000


def draw_scene(
    seed: int, *, styles: Sequence[str] = TRAIN_STYLES, num_classes: int = len(SCENE_CLASSES), canvas: int = CANVAS
) -> Scene:
    """Return the scene of a seed, the same in every process and on every day.

    Returns:
        `image` (RGB, `canvas` pixels a side), `seed`, `background` (colour), `background_kind` and `objects`, a list of
        {`category_id`, `bbox` (x1, y1, x2, y2 in absolute pixels, exact: the smallest box that holds each pixel of
        alpha above 24), `attributes` (ids of `ATTRIBUTE_NAMES`), `style`, `size` ("big" or "small"), `flipped`,
        `angle` (degrees counter-clockwise)}. `seed` is another than the given one where that left fewer than two
        objects; it draws the same scene.

    Raises:
        ValueError: a negative seed, an unknown style, a number of classes not in 6-128, a canvas not in 128-2048.
    """
    check_scene_options(styles=styles, num_classes=num_classes, canvas=canvas)
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must not be negative.")
    for _ in range(MAX_REDRAWS):
        scene = _draw(seed, tuple(styles), num_classes, canvas)
        if len(scene["objects"]) >= 2:
            return scene
        seed += REDRAW_STEP
    raise AssertionError(f"{MAX_REDRAWS} scenes in a row have no room for two objects; the last seed was {seed}.")


def _draw(seed: int, styles: tuple[str, ...], num_classes: int, canvas: int) -> Scene:
    import numpy as np

    rng = random.Random(seed)
    category_ids = _draw_classes(rng, [i for i in range(num_classes) if styles_of_class(i, styles)])
    background, kind = rng.choice(COLOURS), rng.choice(BACKGROUND_KINDS)
    image = draw_background(background, kind, rng, np.random.default_rng(seed), canvas)
    objects: list[SceneObject] = []
    for category_id in category_ids:
        size = rng.choice(list(SIDES))
        side = rng.randint(*SIDES[size])
        style, flipped = rng.choice(styles_of_class(category_id, styles)), rng.random() < FLIPPED
        angle = round(rng.uniform(-MAX_ANGLE, MAX_ANGLE), 2)
        drawing = draw_object(category_id, style, side=side, flipped=flipped, angle=angle)
        box = _find_room(rng, drawing.size, [one["bbox"] for one in objects], canvas)
        if box is None:
            continue
        image.paste(drawing, (int(box[0]), int(box[1])), drawing)
        objects.append(
            {
                "category_id": category_id,
                "bbox": box,
                "attributes": _attributes(size, *drawing.size),
                "style": style,
                "size": size,
                "flipped": flipped,
                "angle": angle,
            }
        )
    return {"image": image, "seed": seed, "background": background, "background_kind": kind, "objects": objects}


def _draw_classes(rng: random.Random, pool: list[int]) -> list[int]:
    number = rng.choices(list(NUM_OBJECTS), list(NUM_OBJECTS.values()))[0]
    times = rng.randint(2, min(4, number)) if number >= 3 and rng.random() < REPEATED else 1
    drawn = rng.sample(pool, number - times + 1)
    drawn += [drawn[0]] * (times - 1)
    rng.shuffle(drawn)
    return drawn


def _find_room(rng: random.Random, size: tuple[int, int], taken: list[list[float]], canvas: int) -> list[float] | None:
    width, height = size
    for _ in range(TRIES):
        x1, y1 = rng.randint(0, canvas - width), rng.randint(0, canvas - height)
        x2, y2 = x1 + width, y1 + height
        # At least one pixel between two boxes.
        if all(x1 > box[2] or box[0] > x2 or y1 > box[3] or box[1] > y2 for box in taken):
            return [float(x1), float(y1), float(x2), float(y2)]
    return None


def _attributes(size: str, width: int, height: int) -> list[int]:
    shape = ["wide"] if width >= LONG * height else ["tall"] if height >= LONG * width else []
    return [ATTRIBUTE_NAMES.index(name) for name in [size, *shape]]


def scene_key(scene: Scene) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a key that scenes with the same background colour and the same classes, each as often, share."""
    counts = Counter(one["category_id"] for one in scene["objects"])
    return scene["background"], tuple(sorted(counts.items()))


def check_scene_options(*, styles: Sequence[str], num_classes: int, canvas: int) -> None:
    """Raise ValueError for what no scene can be drawn with."""
    if isinstance(styles, str) or not styles or set(styles) - set(STYLES):
        raise ValueError(f"styles is {styles!r}; give a list of some of {', '.join(STYLES)}.")
    if not max(NUM_OBJECTS) <= num_classes <= len(SCENE_CLASSES):
        raise ValueError(f"num_classes is {num_classes}; it must be {max(NUM_OBJECTS)} to {len(SCENE_CLASSES)}.")
    if not MIN_CANVAS <= canvas <= MAX_CANVAS:
        raise ValueError(f"canvas is {canvas} pixels; it must be {MIN_CANVAS} to {MAX_CANVAS}.")


__all__ = ["REDRAW_STEP", "check_scene_options", "draw_scene", "scene_key"]
