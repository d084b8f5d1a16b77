"""The paper's figure 6: what the words of one sentence attend to in an image, in several languages, by an MLMM.

    wenlan attention runs/mlmm_tiny --image cat.png --texts "zh=图中有[猫]和[钥匙]。" "en=Picture of [cat] and [key]."
    wenlan attention MODEL --regions runs/regions --image_id cat.png --image cat.png --texts zh=... --layer 4 --heads 0
    wenlan attention runs/mlmm_tiny --scenes 100          # drawn scenes with known boxes, sentences in seven languages

Marked words are aligned over the languages, the first with the first; without a mark the sentence is one word. Scenes
also give the pointing game and the agreement of languages over all of them, for every layer, beside their controls.
Attention shows where a model looked, not why it decided.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ...analysis.region_attention.attention import (
    ROLLOUT,
    Heads,
    Layer,
    RegionAttention,
    check_layer,
    find_regions,
    limit_regions,
    text_to_region_attention,
)
from ...analysis.region_attention.evaluate import (
    COLUMNS,
    MODEL,
    OTHER_SENTENCE,
    RANDOM_MODEL,
    evaluate_layer,
    table_rows,
)
from ...analysis.region_attention.figure import draw_attention_grid
from ...analysis.region_attention.pointing import LayerWeights, other_sentences, word_weights
from ...analysis.region_attention.scenes import AttentionScene, build_scene, draw_scenes
from ...analysis.region_attention.similarity import divergence_table, language_pairs, summarize_pairs
from ...analysis.region_attention.words import Span, read_marks
from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_model
from ...data.files.json_files import write_json
from ...data.files.model_folder import PROCESSOR, open_pretrained
from ...data.regions.load import read_regions
from ...data.rows.languages import LANGUAGES, check_languages
from ...data.rows.vocabulary import check_vocabulary
from ...evaluation.vqa.report import image_interval
from ...modeling_mlmm.modeling_mlmm import MLMMModel
from ...pipelines.device import choose_device
from ...processing.image_decoding import decode_image
from ...processing.processing_mlmm import MLMMProcessor
from ...processing.region_inputs import image_size
from ...training.figure_run import FigureArguments, figure_folder, run_figure, write_csv
from ...training.recipe_options import option

logger = logging.getLogger(__name__)

PANEL_WIDTH = 260  # pixels of an image in the figure
MIN_NAMED = 3  # classes of the scene that is drawn
PAPER = {"figure": 6, "section": "2.4", "layer": "last", "languages": ["zh", "en"], "claim": "the maps are alike"}


@dataclass
class AttentionArguments(FigureArguments):
    """Model, image and sentences, or drawn scenes."""

    model: str = option("", "folder or hub id of an MLMM; the first word")
    image: str | None = option(None, "the image")
    detector: str | None = option(None, "folder or hub id of a region detector, if the model's own is not to be used")
    regions: str | None = option(None, "folder of stored regions, in place of a detector")
    image_id: str | None = option(None, "which image of the stored regions")
    texts: list[str] = option([], "sentences as LANGUAGE=TEXT, such as 'en=a red [key]' with words in marks")
    scenes: int | None = option(None, "draw so many scenes, in place of an image and texts", low=10)
    languages: list[str] = option(list(LANGUAGES), "of the sentences of scenes")
    layer: int = option(-1, "of the encoder, from 0; -1 is the last, as in the paper")
    heads: str = option("mean", "mean, max, or the number of one")
    rollout: bool = option(False, "through all layers, in place of one")
    output_dir: str = option("runs/attention", "for images, data and metrics")

    def chosen_layer(self) -> Layer:
        """Return the layer; raise ValueError for one beside `rollout`."""
        if self.rollout and self.layer != -1:
            raise ValueError(f"rollout goes through all layers; leave --layer {self.layer} out.")
        return ROLLOUT if self.rollout else self.layer

    def chosen_heads(self) -> Heads:
        """Return the heads, a number where one is named."""
        return int(self.heads) if self.heads.lstrip("-").isdecimal() else self.heads


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the figure; return its folder.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    return run_figure(AttentionArguments, run, argv, command="wenlan attention")


def run(options: AttentionArguments) -> dict[str, object]:
    """Write `figure6.png`, `attention.csv`, `similarity.json` and `metrics.json`; return what is in the last.

    Raises:
        FileNotFoundError: no such model, image or regions.
        ValueError: options or data are bad.
        RuntimeError: the weights of the model changed.
    """
    if not options.model:
        raise ValueError("Give the folder or hub id of an MLMM first: wenlan attention MODEL --image ... --texts ...")
    if (options.scenes is None) == (not options.texts):
        raise ValueError("Give --texts with --image or --regions, or --scenes.")
    if options.scenes is not None and any((options.image, options.regions, options.image_id)):
        raise ValueError("Scenes have images and regions of their own; leave yours out.")
    check_languages(options.languages)
    sentences = read_sentences(options.texts)
    layer, heads, device = options.chosen_layer(), options.chosen_heads(), choose_device(options.device)
    model: MLMMModel = open_pretrained(MLMMModel, options.model).eval().requires_grad_(False).to(device)
    processor: MLMMProcessor = open_pretrained(MLMMProcessor, options.model, file=PROCESSOR)
    if options.detector is not None:
        processor.detector = options.detector
    check_layer(model, layer, heads)
    torch.manual_seed(options.seed)
    control = MLMMModel(model.config).eval().requires_grad_(False).to(device)
    with figure_folder(options) as (folder, metrics):
        before = hash_model(model)
        metrics |= {"model": options.model, "model_hash": before, "layer": layer, "heads": heads, "paper": PAPER}
        if options.scenes is None:
            found = _attend_image(options, sentences, model, control, processor, folder)
        else:
            found = _attend_scenes(options, model, control, processor, folder)
        metrics |= found
        if hash_model(model) != before:
            raise RuntimeError("The weights of the model changed while it was looked at.")
    return metrics


def read_sentences(texts: Sequence[str]) -> dict[str, tuple[str, list[Span]]]:
    """Return the sentence of each language, and the places of its words, as many in each language.

    Raises:
        ValueError: a text names no language, one comes twice, marks are wrong, or words are more in one language.
    """
    sentences: dict[str, tuple[str, list[Span]]] = {}
    for given in texts:
        language, equals, marked = given.partition("=")
        if not (equals and language.strip() and marked.strip()):
            raise ValueError(f"The text {given!r} names no language; give it as zh=TEXT.")
        if language in sentences:
            raise ValueError(f"There are two texts in {language}; give one a language.")
        if language not in LANGUAGES:
            logger.warning("%s is none of the languages of MLMM: %s.", language, ", ".join(LANGUAGES))
        text, spans = read_marks(marked)
        sentences[language] = (text, spans or [(0, len(text))])
    counts = {language: len(spans) for language, (_, spans) in sentences.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"Mark as many words in each language, the first translates the first; there are {counts}.")
    return sentences


def _attend_image(
    options: AttentionArguments,
    sentences: Mapping[str, tuple[str, list[Span]]],
    model: MLMMModel,
    control: MLMMModel,
    processor: MLMMProcessor,
    folder: Path,
) -> dict[str, object]:
    """Write the files of one image; return its metrics."""
    texts = {language: text for language, (text, _) in sentences.items()}
    spans = {language: places for language, (_, places) in sentences.items()}
    check_vocabulary(processor.tokenizer, list(texts.values()), what="texts")
    image, regions = _image_and_regions(options, processor)
    attentions, random = (_attend(one, processor, texts, regions, options) for one in (model, control))
    _save_figure(folder, image, attentions, spans)
    weights, boxes = _weights_at(attentions, spans), next(iter(attentions.values())).boxes
    name = options.image_id or Path(options.image or "").name
    write_csv(folder / "attention.csv", COLUMNS, table_rows(name, texts, spans, weights, boxes))
    words = {language: [texts[language][slice(*span)] for span in spans[language]] for language in texts}
    write_json(folder / "similarity.json", {"words": words, "divergence": divergence_table([weights])})
    similarity = {
        **summarize_pairs([language_pairs(weights)], None),
        RANDOM_MODEL: summarize_pairs([language_pairs(_weights_at(random, spans))], None),
    }
    return {"n": 1, "regions": len(boxes), "words": words, "similarity": similarity}


def _attend_scenes(
    options: AttentionArguments, model: MLMMModel, control: MLMMModel, processor: MLMMProcessor, folder: Path
) -> dict[str, object]:
    """Write the files of drawn scenes; return their metrics."""
    assert options.scenes is not None  # `run` has looked
    drawn = tqdm(draw_scenes(options.scenes, seed=options.seed), "regions", options.scenes, disable=None)
    scenes = [build_scene(scene, find_regions(processor, scene["image"]), options.languages) for scene in drawn]
    if not any(right.any() and not right.all() for scene in scenes for right in scene.is_of_class):
        raise ValueError(
            f"In none of {len(scenes)} scenes has a region, beside others, the thing that a word names: there is "
            "nothing to evaluate. Give a --detector of such drawings."
        )
    others = other_sentences(scenes)
    shown = next((scene for scene in scenes if len(scene.classes) >= MIN_NAMED), scenes[0])
    _save_figure(folder, shown.image, _attend(model, processor, shown.texts, shown.regions, options), shown.spans)
    count = model.config.num_hidden_layers
    layers: list[Layer] = [*range(count), ROLLOUT]
    layer: Layer = ROLLOUT if options.rollout else options.layer % count

    def attend(one: MLMMModel, what: str, places: Sequence[AttentionScene] = scenes) -> list[LayerWeights]:
        bar = tqdm(places, what, disable=None)
        return [word_weights(one, processor, scene, layers, options.chosen_heads()) for scene in bar]

    runs = {MODEL: attend(model, "model")}
    own = [found[layer] for found in runs[MODEL]]
    write_csv(
        folder / "attention.csv",
        COLUMNS,
        (row for scene, found in zip(scenes, own, strict=True) for row in _rows_of(scene, found)),
    )
    write_json(folder / "similarity.json", {"scenes": len(scenes), "divergence": divergence_table(own)})
    runs |= {RANDOM_MODEL: attend(control, "random weights"), OTHER_SENTENCE: attend(model, "other sentences", others)}
    interval = partial(image_interval, seed=options.seed)
    by_layer = {one: evaluate_layer(scenes, runs, one, interval) for one in layers}
    return {
        "n": len(scenes),
        "regions": sum(len(scene.region_classes) for scene in scenes) / len(scenes),
        **by_layer[layer],
        "layers": {
            str(one): {"pointing": found["pointing"]["all"], "similarity": found["similarity"]}
            for one, found in by_layer.items()
        },
    }


def _attend(
    model: MLMMModel,
    processor: MLMMProcessor,
    texts: Mapping[str, str],
    regions: Mapping[str, object],
    options: AttentionArguments,
) -> dict[str, RegionAttention]:
    found = text_to_region_attention(
        model,
        processor,
        list(texts.values()),
        regions=regions,
        layer=options.chosen_layer(),
        heads=options.chosen_heads(),
    )
    return dict(zip(texts, found, strict=True))


def _rows_of(scene: AttentionScene, weights: Mapping[str, torch.Tensor]) -> Iterator[list[object]]:
    boxes = torch.as_tensor(scene.regions["boxes"])
    return table_rows(str(scene.image_id), scene.texts, scene.spans, weights, boxes, scene.is_of_class)


def _image_and_regions(
    options: AttentionArguments, processor: MLMMProcessor
) -> tuple[Image.Image, Mapping[str, object]]:
    """Return the image, an empty one where only its regions are given, and its regions in pixels."""
    image = None if options.image is None else decode_image(options.image)
    if options.regions is None:
        if image is None or options.image_id is not None:
            raise ValueError("Give --image, or --regions with --image_id.")
        return image, find_regions(processor, image)
    if options.image_id is None:
        raise ValueError(f"Give --image_id, one of the images of {options.regions}.")
    rows = read_regions(options.regions)
    names = rows.with_format(None)["image_id"]
    if options.image_id not in names:
        raise ValueError(f"{options.regions} has no image {options.image_id!r}, but {', '.join(names[:3])} ...")
    row = limit_regions(rows[list(names).index(options.image_id)])
    height, width = image_size(row)
    if height is None or width is None:
        if image is None:
            raise ValueError(f"The size of {options.image_id} is not stored with its regions; give --image.")
        boxes = torch.as_tensor(row["boxes"]) * torch.tensor(image.size * 2)
        return image, {**row, "boxes": boxes, "image_height": image.height, "image_width": image.width}
    if image is None:
        return Image.new("RGB", (width, height), "lightgray"), row
    if image.size != (width, height):
        raise ValueError(f"{options.image} is {image.size}, but the regions are of an image of {(width, height)}.")
    return image, row


def _save_figure(
    folder: Path, image: Image.Image, attentions: Mapping[str, RegionAttention], spans: Mapping[str, Sequence[Span]]
) -> None:
    drawn = draw_attention_grid(image, attentions, spans, scale=PANEL_WIDTH / image.width)
    with atomic_file(folder / "figure6.png") as unfinished:
        drawn.save(unfinished)


def _weights_at(
    attentions: Mapping[str, RegionAttention], spans: Mapping[str, Sequence[Span]]
) -> dict[str, torch.Tensor]:
    return {one: torch.stack([found.at([span]) for span in spans[one]]) for one, found in attentions.items()}


__all__ = ["AttentionArguments", "main", "read_sentences", "run"]

if __name__ == "__main__":
    main()
