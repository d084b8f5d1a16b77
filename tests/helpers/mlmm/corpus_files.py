"""Made-up images in MLMM's files: shards of regions whose features tell their class, and captions that name it."""

import json

import numpy as np
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES
from wenlan.data.regions.schema import RegionInfo
from wenlan.data.regions.shards import write_shard

WIDTH, CLASSES = 6, 5  # the last class is the background
INFO = RegionInfo(
    model_hash="made-up",
    feature_dim=WIDTH,
    num_classes=CLASSES,
    background_index=CLASSES - 1,
    settings={"min_boxes": 1, "max_boxes": 4, "conf_threshold": 0.2},
)
PROTOTYPES = np.random.default_rng(0).normal(size=(CLASSES - 1, WIDTH))


def draw_classes(number):
    """The one to three classes that are in an image."""
    rng = np.random.default_rng([1, number])
    return rng.permutation(CLASSES - 1)[: rng.integers(1, 4)].tolist()


def region_row(name, classes, *, info=INFO, seed=0):
    rng = np.random.default_rng([seed, len(classes)])
    corner = rng.random((len(classes), 2)) * 20
    probs = np.full((len(classes), info.num_classes), 0.02)
    probs[np.arange(len(classes)), classes] = 1 - 0.02 * (info.num_classes - 1)
    features = PROTOTYPES[classes] + 0.1 * rng.normal(size=(len(classes), WIDTH))
    if info.feature_dim > WIDTH:
        features = np.pad(features, ((0, 0), (0, info.feature_dim - WIDTH)))
    return {
        "image_id": name,
        "image_height": 48,
        "image_width": 64,
        "boxes": np.concatenate([corner, corner + 1 + rng.random((len(classes), 2)) * 20], axis=1),
        "features": features,
        "class_probs": probs,
        "background_index": info.background_index,
    }


def write_regions(folder, images, *, info=INFO, broken=()):
    """Writes one shard of images, name -> classes; the features of those in `broken` are NaN."""
    rows = []
    for seed, (name, classes) in enumerate(images.items()):
        row = info.encode(region_row(name, classes, info=info, seed=seed))
        if name in broken:
            row["features"] = np.full((len(classes), info.feature_dim), np.nan, np.float16).tobytes()
        rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "regions-00000-of-00001.parquet"
    write_shard(path, rows, info)
    return path


def write_captions(folder, images, *, languages=("en", "zh")):
    """Writes captions_LANGUAGE.jsonl: what is in an image, and the same with a word before it."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages:
        lines = []
        for name, classes in images.items():
            words = ", ".join(CLASS_NAMES[language][one] for one in classes)
            row = {"image": f"images/{name}", "text": [f"{words}.", f"{CLASS_NAMES[language][9]}: {words}."]}
            lines.append(json.dumps(row, ensure_ascii=False))
        (folder / f"captions_{language}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def write_corpus(folder, count, *, first=0, languages=("en", "zh"), **regions):
    """Writes `regions` and `captions` of so many images below a folder; returns both paths as text."""
    images = {f"{number}.png": draw_classes(number) for number in range(first, first + count)}
    write_regions(folder / "regions", images, **regions)
    write_captions(folder / "captions", images, languages=languages)
    return str(folder / "regions"), str(folder / "captions")
