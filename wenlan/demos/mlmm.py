"""The demo of MLMM: detector, regions and pre-training; then retrieval in seven languages, questions in English and
Japanese, and what the words of one sentence look at in each language."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from datasets import Dataset
from PIL import Image

from ..analysis.region_attention.attention import Layer, text_to_region_attention
from ..analysis.region_attention.figure import draw_attention_panels
from ..analysis.region_attention.pointing import collect_points, word_weights
from ..analysis.region_attention.scenes import AttentionScene, build_scene
from ..data.emoji_scenes.coco_vqa_format import vqa_file_names
from ..data.emoji_scenes.dataset import Preset, generate_scenes
from ..data.emoji_scenes.export import write_emoji_scenes
from ..data.emoji_scenes.questions import QUESTION_LANGUAGES
from ..data.emoji_scenes.vocabulary import CLASS_NAMES
from ..data.files.json_files import write_json
from ..data.files.lock import output_lock
from ..data.regions.load import read_regions
from ..data.rows.languages import LANGUAGES
from ..evaluation.retrieval.recall import retrieval_recalls
from ..modeling_mlmm.pretraining import MLMMForPreTraining
from ..modeling_mlmm.retrieval import MLMMForImageTextRetrieval
from ..pipelines.pair_scoring import PairScorer
from ..pipelines.region_extraction import RegionChoice, extract_regions
from ..processing.processing_mlmm import MLMMProcessor
from ..training_scripts.finetune_vqa import main as finetune_vqa
from ..training_scripts.pretrain_mlmm import main as pretrain
from ..training_scripts.train_region_detector import main as train_detector

SPLITS = ("pretrain", "finetune", "test")
CHOICE = RegionChoice(min_boxes=2, max_boxes=10, conf_threshold=0.4)
CANDIDATES = 100  # images, and captions of each language, of the retrieval


def run_demo_mlmm(
    output_dir: Path,
    *,
    scenes: int | Preset = "cpu",
    detector: str | None = None,
    detector_options: Sequence[str] = (),
    pretraining_options: Sequence[str] = (),
    question_options: Sequence[str] = (),
    candidates: int = CANDIDATES,
) -> Path:
    """Run the whole demo and return its folder, which holds all metrics in `demo.json`.

    What is there from a run that was stopped is used again: scenes, detector, regions, and the last checkpoints.

    Args:
        output_dir: gets `scenes`, `detector`, `regions`, `mlmm`, `vqa`, `attention.png` and `demo.json`.
        scenes: size of EmojiScenes.
        detector: folder of a trained one, instead of training it.
        detector_options, pretraining_options, question_options: of the three recipes, such as ["--max_steps", "5"].
        candidates: images, and captions of each language, of the retrieval.
    """
    with output_lock(output_dir):
        minutes: dict[str, float] = {}
        with _timed("scenes", minutes):
            for split in SPLITS:
                write_emoji_scenes(output_dir / "scenes", split, scenes)
        if detector is None:
            detector = str(output_dir / "detector")
            if not (output_dir / "detector" / "config.json").exists():
                with _timed("detector", minutes):
                    train_detector(["detector_tiny", "--output_dir", detector, "--resume", *detector_options])
        with _timed("regions", minutes):
            for split in SPLITS:
                images = output_dir / "scenes" / split / "images"
                print(extract_regions(images, output_dir / "regions" / split, model=detector, choice=CHOICE))
        with _timed("pre-training", minutes):
            options = ["--output_dir", str(output_dir / "mlmm"), "--detector", detector]
            options += [*_paths(output_dir, "pretrain", ""), *_paths(output_dir, "test", "test_")]
            folder = pretrain(["mlmm_tiny", "--resume", *options, *pretraining_options])
        processor = MLMMProcessor.from_pretrained(folder)
        results = {"pre-training": json.loads((folder / "metrics.json").read_text("utf-8"))}
        with _timed("retrieval", minutes):
            results["retrieval"] = retrieve(folder, processor, output_dir, candidates)
        with _timed("questions", minutes):
            results["questions"] = answer_questions(folder, output_dir, question_options)
        with _timed("attention", minutes):
            results["pointing"] = pointing_accuracy(folder, processor, output_dir)
            layer = max(results["pointing"], key=results["pointing"].get)
            draw_attention(folder, processor, output_dir, layer=layer).save(output_dir / "attention.png")
        results["minutes"] = {name: round(value, 1) for name, value in minutes.items()}
        write_json(output_dir / "demo.json", results)
        _print(results, output_dir)
        return output_dir


def retrieve(folder: Path, processor: MLMMProcessor, output_dir: Path, candidates: int) -> dict[str, dict[str, float]]:
    """Return the recalls of each language on unseen scenes, by the matching head, without any fine-tuning."""
    model = MLMMForImageTextRetrieval.from_pretrained(folder)
    regions = read_regions(output_dir / "regions" / "test")
    rows = {row["image_id"]: row for row in regions.select(range(min(candidates, len(regions))))}
    metrics = {}
    for language in LANGUAGES:
        captions = _captions(output_dir / "scenes" / "test", language)
        names = [name for name in rows if name in captions]
        scores = PairScorer(model, processor, [rows[name] for name in names])([captions[name] for name in names])
        recalls = retrieval_recalls(scores.numpy(), range(len(names)))
        chance = float(np.mean([value for name, value in recalls.items() if "chance" in name]))
        metrics[language] = recalls | {"chance": chance, "candidates": len(names)}
    return metrics


def answer_questions(folder: Path, output_dir: Path, options: Sequence[str]) -> dict[str, dict[str, object]]:
    """Fine-tune the model, and one that sees no image, to questions; return their metrics by language, percent."""
    paths = [["--init_from", str(folder)], ["--output_dir", str(output_dir / "vqa")]]
    for split, prefix in (("finetune", ""), ("test", "test_")):
        scenes = output_dir / "scenes" / split
        files = [str(scenes / vqa_file_names(split, language)[0]) for language in QUESTION_LANGUAGES]
        paths += [[f"--{prefix}questions", *files], [f"--{prefix}regions", str(output_dir / "regions" / split)]]
    finetune_vqa(["vqa_tiny", "--resume", *(word for words in paths for word in words), *options])
    return json.loads((output_dir / "vqa" / "metrics.json").read_text("utf-8"))["languages"]


def pointing_accuracy(
    folder: Path, processor: MLMMProcessor, output_dir: Path, *, language: str = "en", images: int = 50
) -> dict[Layer, float]:
    """Return, by layer, how often the region that a name attends to most is one of its class."""
    model = MLMMForPreTraining.from_pretrained(folder).eval()
    layers = range(model.config.num_hidden_layers)
    scenes = _attention_scenes(output_dir, "finetune", images, [language])
    weights = [word_weights(model, processor, scene, layers) for scene in scenes]
    points = {layer: collect_points(scenes, [found[layer] for found in weights])["all"] for layer in layers}
    return {layer: float(found.hits.mean()) if len(found.hits) else 0.0 for layer, found in points.items()}


def draw_attention(folder: Path, processor: MLMMProcessor, output_dir: Path, *, layer: Layer = -1) -> Image.Image:
    """Draw what the name of one thing looks at, in one sentence in seven languages."""
    model = MLMMForPreTraining.from_pretrained(folder).eval()
    scene = next(one for one in _attention_scenes(output_dir, "test", 50, LANGUAGES) if len(one.classes) > 3)
    texts = list(scene.texts.values())
    found = text_to_region_attention(model, processor, texts, regions=scene.regions, layer=layer)
    words = {language: CLASS_NAMES[language][scene.largest_class] for language in LANGUAGES}
    return draw_attention_panels(scene.image, dict(zip(LANGUAGES, found, strict=True)), words, scale=1.4)


def _attention_scenes(output_dir: Path, split: str, count: int, languages: Sequence[str]) -> list[AttentionScene]:
    """Return the first scenes of a split, of those that have regions."""
    rows = read_regions(output_dir / "regions" / split)
    assert isinstance(rows, Dataset)  # not streamed
    places = {name: place for place, name in enumerate(rows.with_format(None)["image_id"])}
    scenes = ((scene, places.get(f"{scene['image_id']:012d}.png")) for scene in generate_scenes(split, count))
    return [build_scene(scene, rows[place], languages) for scene, place in scenes if place is not None]


def _captions(folder: Path, language: str) -> dict[str, str]:
    """Return the first caption of each image, by its file's name."""
    lines = (folder / f"captions_{language}.jsonl").read_text("utf-8").splitlines()
    return {Path(row["image"]).name: row["text"][0] for row in map(json.loads, lines)}


def _paths(output_dir: Path, split: str, prefix: str) -> list[str]:
    paths = {"regions": output_dir / "regions" / split, "captions": output_dir / "scenes" / split}
    return [part for name, path in paths.items() for part in (f"--{prefix}{name}", str(path))]


@contextmanager
def _timed(name: str, minutes: dict[str, float]) -> Iterator[None]:
    print(f"\n{name} ...", flush=True)
    started = time.monotonic()
    yield
    minutes[name] = (time.monotonic() - started) / 60
    print(f"{name}: {minutes[name]:.1f} minutes", flush=True)


def _print(results: dict, output_dir: Path) -> None:
    metrics = {name: rows["all"] for name, rows in results["pre-training"].items()}
    print("\nPre-training on unseen scenes (the control beside it):")
    for name, key, control in (
        ("itm", "pairs that match or not", "without_regions"),
        ("object_words", "hidden names", "without_regions"),
        ("mrc", "classes of hidden regions", "with_other_words"),
    ):
        print(f"  {key} {metrics[name]['accuracy']:.1%} ({control.replace('_', ' ')} {metrics[name][control]:.1%})")
    count = next(iter(results["retrieval"].values()))["candidates"]
    print(f"Retrieval among {count} unseen scenes, mean recall (chance {results['retrieval']['en']['chance']:.1f}):")
    print("  " + ", ".join(f"{language} {row['mean_recall']:.1f}" for language, row in results["retrieval"].items()))
    print("Questions on unseen scenes, percent right (a model of the same size that sees no image):")
    rows = results["questions"].items()
    print("  " + ", ".join(f"{name} {row['accuracy']:.1f} ({row['question_only']:.1f})" for name, row in rows))
    fractions = ", ".join(f"layer {layer + 1} {fraction:.1%}" for layer, fraction in results["pointing"].items())
    print(f"Names that attend most to a region of theirs: {fractions}")
    print(f"What words look at: {output_dir / 'attention.png'}. All metrics: {output_dir / 'demo.json'}")
    print(f"\nNext: wenlan answer {output_dir / 'vqa'} IMAGE --question QUESTION")


__all__ = ["answer_questions", "draw_attention", "pointing_accuracy", "retrieve", "run_demo_mlmm"]
