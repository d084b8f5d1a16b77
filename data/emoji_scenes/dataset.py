"""EmojiScenes: images composed from emoji7, with exact boxes, attributes and captions in seven languages.

Scenes are drawn from integers and need not be stored: a split is a number, a scene is a number within it.
"""

import io
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..files.dataset_cache import dataset_cache
from ..files.hashing import hash_bytes
from ..rows.languages import LANGUAGES
from ..rows.types import Scene, SceneRow
from .captions import write_captions
from .objects import TRAIN_STYLES
from .scene import CANVAS, REDRAW_STEP, check_scene_options, draw_scene, scene_key
from .vocabulary import ATTRIBUTE_NAMES, CLASS_NAMES, SCENE_CLASSES

if TYPE_CHECKING:
    from datasets import Dataset, Features

SPLIT_STEP = 1_000_003  # between the seeds of two splits, and so the greatest size of a split
SPLIT_SEEDS = {"detect": 1, "pretrain": 2, "finetune": 3, "validation": 4, "test": 5, "test_style": 6}
# In these no two scenes have the same classes, as often, on the same colour: their captions would fit both.
EVALUATION_SPLITS = ("validation", "test", "test_style")
Preset = Literal["tests", "cpu", "gpu"]
SPLIT_SIZES: dict[Preset, dict[str, int]] = {
    "tests": {"detect": 200, "pretrain": 100, "finetune": 100, "validation": 50, "test": 50, "test_style": 50},
    "cpu": {"detect": 1500, "pretrain": 4000, "finetune": 2000, "validation": 300, "test": 500, "test_style": 500},
    "gpu": {"detect": 20_000, "pretrain": 100_000, "finetune": 20_000} | dict.fromkeys(EVALUATION_SPLITS, 1000),
}
MAX_REPETITIONS = 1000


def load_emoji_scenes(
    split: str,
    size: int | Preset = "cpu",
    *,
    num_classes: int = len(SCENE_CLASSES),
    canvas: int = CANVAS,
    cache_dir: str | Path | None = None,
) -> "Dataset":
    """Return the rows of a split: drawn at the first call, mapped from the cache of `datasets` afterwards.

    A row has `image` (RGB, 192 x 192), `image_id`, `seed`, `background`, `background_kind`, `objects` (a list of
    {`category_id`, `bbox`, `attributes`, `style`, `size`, `flipped`, `angle`}; boxes are x1, y1, x2, y2 in absolute
    pixels), `captions` (language -> one to three texts) and `caption_kinds` (which ones they are). The features hold
    the names of classes and attributes.

    Args:
        split: "detect", "pretrain" or "finetune" to train on; "validation"; "test" in the styles of the training;
            "test_style" in a style that no training split has.
        size: how many scenes, or one of three presets. The first n scenes are the same at every size.
        num_classes: only the first so many classes.
        canvas: pixels a side.
        cache_dir: where the rows are kept, if not where `datasets` keeps its own.

    Raises:
        ValueError: an unknown split or preset, or a size, number of classes or canvas out of range.

    >>> scenes = load_emoji_scenes("test", 2)
    >>> scenes[0]["captions"]["en"][0]
    'Picture of racing car and key ×3, yellow background.'
    """
    from datasets import Dataset, NamedSplit

    size = split_size(split, size)
    options = {"split": split, "size": size, "num_classes": num_classes, "canvas": canvas}
    check_scene_options(styles=split_styles(split), num_classes=num_classes, canvas=canvas)
    return Dataset.from_generator(
        _encoded_rows,
        features=scene_features(),
        cache_dir=str(cache_dir or dataset_cache()),
        gen_kwargs=options,
        split=NamedSplit(split),
        fingerprint=hash_bytes(f"{sorted(options.items())} {hash_of_sources()}".encode()),
    )


def generate_scenes(
    split: str, size: int | Preset = "cpu", *, num_classes: int = len(SCENE_CLASSES), canvas: int = CANVAS
) -> Iterator[SceneRow]:
    """Yield the rows of `load_emoji_scenes` one after the other, without `datasets` and with nothing stored.

    Raises:
        ValueError: as `load_emoji_scenes`, or an evaluation split of this size has no more scenes that differ.
    """
    seen = set()
    for index in range(split_size(split, size)):
        seed = scene_seed(split, index)
        for _ in range(MAX_REPETITIONS + 1):
            scene = draw_scene(seed, styles=split_styles(split), num_classes=num_classes, canvas=canvas)
            key = scene_key(scene)
            if split not in EVALUATION_SPLITS or key not in seen:
                break
            seed = scene["seed"] + REDRAW_STEP
        else:
            raise ValueError(f"{split} has no {index + 1} different scenes; take fewer, or more classes.")
        seen.add(key)
        yield _add_captions(scene, scene_seed(split, index), text_seed(split, index))


def generate_scene(
    seed: int,
    *,
    styles: Sequence[str] = TRAIN_STYLES,
    num_classes: int = len(SCENE_CLASSES),
    canvas: int = CANVAS,
    text_seed: str | None = None,
) -> SceneRow:
    """Return one row of the form of `load_emoji_scenes`, with `seed` as `image_id`; `image` is a `PIL.Image`.

    `generate_scene(scene_seed("detect", i), text_seed=text_seed("detect", i))` is row i of that split, also of
    "pretrain" and "finetune". The others draw repeated scenes anew: use `generate_scenes`.

    Args:
        seed: any integer that is not negative.
        styles: what the objects are drawn in.
        num_classes: only the first so many classes.
        canvas: pixels a side.
        text_seed: decides the order of the words in the captions; by default the seed does.

    Raises:
        ValueError: a negative seed, an unknown style, or a number of classes or a canvas out of range.
    """
    scene = draw_scene(seed, styles=styles, num_classes=num_classes, canvas=canvas)
    return _add_captions(scene, seed, str(seed) if text_seed is None else text_seed)


def _add_captions(scene: Scene, image_id: int, text_seed: str) -> SceneRow:
    kinds, captions = write_captions(scene, random.Random(text_seed))
    return {**scene, "image_id": image_id, "captions": captions, "caption_kinds": kinds}


def scene_seed(split: str, index: int) -> int:
    """Return the seed of a scene, which is also its `image_id`: unique over all splits."""
    _check_split(split)
    return SPLIT_SEEDS[split] * SPLIT_STEP + index


def text_seed(split: str, index: int) -> str:
    """Return the seed of a scene's captions and of its questions. (A string: no hash is randomised.)"""
    _check_split(split)
    return f"{SPLIT_SEEDS[split]}-{index}"


def split_styles(split: str) -> tuple[str, ...]:
    """Return the styles that the objects of a split are drawn in."""
    return ("fluent3d",) if split == "test_style" else TRAIN_STYLES


def split_size(split: str, size: int | Preset) -> int:
    """Return the number of scenes that a size or the name of a preset means.

    Raises:
        ValueError: an unknown split or preset, or a size out of range.
    """
    _check_split(split)
    if isinstance(size, str):
        if size not in SPLIT_SIZES:
            raise ValueError(f"size is {size!r}; give a number or one of {', '.join(SPLIT_SIZES)}.")
        return SPLIT_SIZES[size][split]
    if not 1 <= size <= SPLIT_STEP:
        raise ValueError(f"size is {size}; a split has 1 to {SPLIT_STEP} scenes.")
    return size


def parse_size(text: str) -> int | Preset:
    """Return the size that a word of a command line or a recipe means: a number or the name of a preset.

    Raises:
        ValueError: it is neither.
    """
    for preset in SPLIT_SIZES:
        if text == preset:
            return preset
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"size is {text!r}; give a number or one of {', '.join(SPLIT_SIZES)}.") from None


def scene_features() -> "Features":
    """Return the `datasets` features of a row; `category_id` and `attributes` know their names."""
    from datasets import ClassLabel, Features, Image, List, Value

    text, whole = Value("string"), Value("int64")
    one = {
        "category_id": ClassLabel(names=list(CLASS_NAMES["en"])),
        "bbox": List(Value("float32"), length=4),
        "attributes": List(ClassLabel(names=list(ATTRIBUTE_NAMES))),
    }
    one |= {"style": text, "size": text, "flipped": Value("bool"), "angle": Value("float64")}
    drawn = {"image": Image(), "image_id": whole, "seed": whole, "background": text, "background_kind": text}
    captions = {language: List(text) for language in LANGUAGES}
    return Features({**drawn, "objects": List(one), "captions": captions, "caption_kinds": List(text)})


def _encoded_rows(split: str, size: int, num_classes: int, canvas: int) -> Iterator[dict[str, object]]:
    for row in generate_scenes(split, size, num_classes=num_classes, canvas=canvas):
        encoded = io.BytesIO()
        row["image"].save(encoded, "PNG", compress_level=1)  # without loss
        yield {**row, "image": {"bytes": encoded.getvalue(), "path": None}}


@cache
def hash_of_sources() -> str:
    """Return a hash of all that may change an image or a text, so that no old row comes out of the cache."""
    import numpy as np
    import PIL

    folder = Path(__file__).parent
    files = sorted([*folder.glob("*.py"), *folder.parent.glob("emoji7/*.parquet")])
    return hash_bytes(f"{PIL.__version__} {np.__version__}".encode() + b"".join(map(Path.read_bytes, files)))


def _check_split(split: str) -> None:
    if split not in SPLIT_SEEDS:
        raise ValueError(f"EmojiScenes has no split {split!r}; it has {', '.join(SPLIT_SEEDS)}.")


__all__ = [
    "EVALUATION_SPLITS",
    "SPLIT_SEEDS",
    "SPLIT_SIZES",
    "Preset",
    "generate_scene",
    "generate_scenes",
    "hash_of_sources",
    "load_emoji_scenes",
    "parse_size",
    "scene_features",
    "scene_seed",
    "split_size",
    "split_styles",
    "text_seed",
]
