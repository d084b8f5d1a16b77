"""The paper's figure 4: images that a text, an image or a coordinate of the embedding calls up in a frozen BriVL.

    wenlan visualize runs/quickstart --texts 向日葵 足球 蝴蝶 青蛙
    wenlan visualize runs/quickstart --file poem.txt --seeds 3              # a text a line
    wenlan visualize MODEL --texts "2*猫+狗" --mode paper                    # a mixture; as in the paper
    wenlan visualize MODEL --image cat.png                                  # or --neuron 7
    wenlan visualize runs/quickstart --texts 向日葵 足球 蝴蝶 青蛙 西瓜 --controls

Controls make the same images in the paper's mode, for permuted texts and by a tower with random weights, and evaluate
all of them by the tower itself, by a classifier of the drawings that is independent of it where each text names one,
and by the distance to the nearest training image.
"""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...analysis.independent_classifier import train_classifier
from ...analysis.neurons.evaluate import (
    find_concepts,
    hits,
    nearest_training_distances,
    random_tower,
    rank_by_embedding,
)
from ...analysis.neurons.figure import draw_texts, file_stem, save_animation, save_image
from ...analysis.neurons.frozen_weights import frozen_weights
from ...analysis.neurons.image_embedding import ImageEmbedder
from ...analysis.neurons.optimization import OptimizedImages, to_pil_images
from ...analysis.neurons.parametrizations import Param
from ...analysis.neurons.targets import Target, image_target, neuron_target, text_targets
from ...analysis.neurons.visualization import COPIES, STEPS, TV_WEIGHT, Mode, visualize
from ...data.files.atomic import atomic_file
from ...data.files.bounded import read_bounded_text
from ...data.files.hashing import hash_model
from ...evaluation.vqa.report import image_interval
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.device import choose_device
from ...pipelines.open_brivl import open_brivl
from ...processing.processing_brivl import BriVLProcessor
from ...training.figure_run import FigureArguments, figure_folder, run_figure
from ...training.recipe_options import option

MIN_TEXTS, NON_FINITE = 5, 3  # the fewest that controls are made of; an exit code
PERMUTED, RANDOM_TOWER = "permuted", "random_tower"
BATCH, TRACE = 16, ("text", "seed", "step", "cosine", "tv", "gradient_norm")
CLASSIFIER_SEED = 1_000_003  # added to the seed: that of no model and no image
FIRST = 5  # ranks of the second metric
PAPER = {
    "figure": 4,
    "section": "1.4",
    "objective": "cosine of the image's embedding and the text's",
    "unknown": ["optimiser", "learning rate", "steps", "regularisation"],
}


@dataclass
class VisualizeArguments(FigureArguments):
    """Model, targets and how images are made."""

    model: str = option("", "folder or hub id of a BriVL; the first word")
    texts: list[str] = option([], "texts; + joins the parts of a mixture, such as 2*猫+狗")
    file: str | None = option(None, "text file with a text a line, in place of texts")
    image: str | None = option(None, "image whose embedding is the target, in place of texts")
    neuron: int | None = option(None, "coordinate of the embedding, in place of texts")
    mode: Mode = option("robust", "robust: copies and smoothness; paper: neither, from noise")
    param: Param = option("transparent", "of the robust mode: frequencies with opacity or without, pixels")
    seeds: int = option(1, "images of each text", low=1, high=1000)
    steps: int = option(STEPS, "of the optimisation", low=1)
    copies: int = option(COPIES, "of an image, changed at random, at each step in the robust mode", low=1)
    size: int | None = option(None, "side of the images, as the image tower reads them; the model's by default")
    learning_rate: float | None = option(None, "of Adam", above=0)
    tv_weight: float = option(TV_WEIGHT, "of the total variation in the robust mode: more is smoother", low=0)
    controls: bool = option(False, "evaluate, beside the paper's mode, permuted texts and a random tower")

    def targets(self, model: BriVLModel, processor: BriVLProcessor) -> list[Target]:
        """Return the targets.

        Raises:
            FileNotFoundError: no such file or image.
            ValueError: not exactly one kind of target is given, or one cannot be used.
        """
        if [bool(self.texts), self.file is not None, self.image is not None, self.neuron is not None].count(True) != 1:
            raise ValueError("Give one of --texts, --file, --image and --neuron.")
        if self.neuron is not None:
            return [neuron_target(model, self.neuron)]
        if self.image is not None:
            return [image_target(model, processor, self.image, name=Path(self.image).name)]
        texts = self.texts
        if self.file is not None:
            texts = [line.strip() for line in read_bounded_text(Path(self.file)).splitlines() if line.strip()]
            if not texts:
                raise ValueError(f"{self.file} has no text; write one a line.")
        if len(set(texts)) < len(texts):
            raise ValueError("A text is given twice; give each once, and --seeds for more images of it.")
        return text_targets(model, processor, texts)

    def visualize(self, embed: ImageEmbedder, targets: Tensor, *, mode: Mode, seed: int) -> OptimizedImages:
        """Return an image for each target (n, d)."""
        return visualize(
            embed,
            targets,
            seed=seed,
            mode=mode,
            param=self.param,
            steps=self.steps,
            copies=self.copies,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
            progress=True,
        )


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the figure; return its folder.

    Raises:
        SystemExit: with 130 after Ctrl-C, with 3 after a loss that is not finite.
        ValueError: options or data are bad.
    """
    return run_figure(VisualizeArguments, run, argv, command="wenlan visualize")


def run(options: VisualizeArguments) -> dict[str, object]:
    """Write an image and an animation of each text, `trace.csv`, `figure4.png` and `metrics.json`; return the last.

    Raises:
        FileNotFoundError: no such model, file or image.
        ValueError: options or data are bad.
        RuntimeError: the weights of the model changed.
        SystemExit: with 3, after the last good images are written, when the loss is not finite.
    """
    if not options.model:
        raise ValueError("Give the folder or hub id of a BriVL first: wenlan visualize MODEL --texts ...")
    device = choose_device(options.device)
    model, processor = open_brivl(options.model)
    model.to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    embed = ImageEmbedder(model, processor, size=options.size)
    targets = options.targets(model, processor)
    names = [target.name for target in targets]
    if options.controls and len(targets) < MIN_TEXTS:
        raise ValueError(f"There are {len(targets)} texts; controls permute them: give {MIN_TEXTS} or more.")
    concepts = find_concepts(names) if options.controls else None
    with figure_folder(options) as (folder, metrics), frozen_weights(model):
        metrics |= {"model": options.model, "model_hash": hash_model(model), "texts": names, "paper": PAPER}
        metrics["concepts"] = concepts
        made = MadeImages(options, embed, targets, folder)
        images: dict[str, list[Image.Image]] = {options.mode: made.write()}
        if options.controls:
            images |= made.controls()
        metrics["images"] = evaluate(options, embed, targets, images, concepts)
    return metrics


class MadeImages:
    """The images of all targets and seeds, and their files."""

    def __init__(
        self, options: VisualizeArguments, embed: ImageEmbedder, targets: Sequence[Target], folder: Path
    ) -> None:
        self.options, self.embed, self.targets, self.folder = options, embed, targets, folder
        self.vectors = torch.stack([target.vector for target in targets])
        self.seeds = range(options.seed, options.seed + options.seeds)

    def write(self) -> list[Image.Image]:
        """Write the files; return the images, all targets of the first seed first.

        Raises:
            KeyboardInterrupt, SystemExit: it was stopped; what was made so far is written.
        """
        images: list[Image.Image] = []
        rows: list[Sequence[object]] = []
        for seed in self.seeds:
            for first in range(0, len(self.targets), BATCH):
                chosen = range(first, min(first + BATCH, len(self.targets)))
                vectors = self.vectors[chosen.start : chosen.stop]
                found = self.options.visualize(self.embed, vectors, mode=self.options.mode, seed=seed)
                own = self.to_images(found.images)
                frames = [self.to_images(frame / 255) for frame in found.frames]
                for place, number in enumerate(chosen):
                    stem = self.folder / file_stem(number, self.targets[number].name)
                    save_image(stem.with_name(f"{stem.name}_{seed}.png"), own[place])
                    if seed == self.options.seed:
                        animation = stem.with_name(f"{stem.name}_progress.gif")
                        save_animation(animation, [frame[place] for frame in frames])
                names = [self.targets[number].name for number in chosen]
                rows += [
                    (names[row.image], seed, row.step, f"{row.cosine:.5f}", f"{row.tv:.5f}", f"{row.gradient_norm:.5g}")
                    for row in found.trace
                ]
                images += own
                self._write_figure(images, rows)
                if found.stopped == "interrupted":
                    raise KeyboardInterrupt
                if found.stopped == "non-finite":
                    print(
                        f"Stopped: the loss is not finite; the last good images are in {self.folder}.", file=sys.stderr
                    )
                    raise SystemExit(NON_FINITE)
        return images

    def controls(self) -> dict[str, list[Image.Image]]:
        """Return the images of the other mode, for permuted texts, and of a tower with random weights."""
        options = self.options
        other: Mode = "paper" if options.mode == "robust" else "robust"
        model = random_tower(self.embed.model, seed=options.seed)
        random = ImageEmbedder(model, self.embed.processor, size=self.embed.size)
        shifted = self.vectors.roll(-1, dims=0)
        ways: dict[str, tuple[Mode, ImageEmbedder, Tensor, int]] = {
            other: (other, self.embed, self.vectors, 0),
            # Other starts, since with the same one this would be the images of the other texts again.
            PERMUTED: (options.mode, self.embed, shifted, options.seeds),
            RANDOM_TOWER: (options.mode, random, self.vectors, 0),
        }
        found: dict[str, list[Image.Image]] = {name: [] for name in ways}
        for name, (mode, embed, vectors, offset) in ways.items():
            for seed in self.seeds:
                result = options.visualize(embed, vectors, mode=mode, seed=seed + offset)
                if result.stopped == "interrupted":
                    raise KeyboardInterrupt
                found[name] += self.to_images(result.images)
        return found

    def to_images(self, images: Tensor) -> list[Image.Image]:
        """Return images as the tower sees them."""
        return to_pil_images(self.embed.resize(images).clamp(0, 1))

    def _write_figure(self, images: Sequence[Image.Image], rows: Sequence[Sequence[object]]) -> None:
        names = [target.name for target in self.targets] * self.options.seeds
        shown = list(zip(names, images, strict=False))
        save_image(self.folder / "figure4.png", draw_texts(f"{self.options.model} ({self.options.mode})", shown))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([TRACE, *rows])
        with atomic_file(self.folder / "trace.csv") as unfinished:
            unfinished.write_text(text.getvalue(), "utf-8")


def evaluate(
    options: VisualizeArguments,
    embed: ImageEmbedder,
    targets: Sequence[Target],
    images: Mapping[str, Sequence[Image.Image]],
    concepts: Sequence[int] | None,
) -> dict[str, dict[str, object]]:
    """Return the metrics of each way of making images: fractions with their chance, and 95 % intervals over texts.

    Args:
        images: by way, those of all targets for each seed.
        concepts: of emoji7, one a target: the classes of the independent classifier; without them there is none.
    """
    vectors, count = torch.stack([target.vector for target in targets]), len(targets)
    classifier = None
    if concepts is not None:
        classifier = train_classifier(concepts, seed=options.seed + CLASSIFIER_SEED, progress=True)
    results: dict[str, dict[str, object]] = {}
    distances: dict[str, np.ndarray] = {}
    if options.controls:
        found_distances = nearest_training_distances([image for own in images.values() for image in own], progress=True)
        distances = dict(zip(images, found_distances.reshape(len(images), -1), strict=True))
    for name, own in images.items():
        labels = np.tile(np.arange(count), options.seeds)
        wanted = (labels + 1) % count if name == PERMUTED else labels
        interval = partial(image_interval, images=labels, seed=options.seed)
        embeddings = embed.embed_images(own)
        rankings = {"own": rank_by_embedding(embeddings, vectors)}
        if classifier is not None:
            rankings["classifier"] = classifier.rank(own)
        found: dict[str, object] = {"n": len(own)}
        found["cosine"] = float((embeddings * vectors[wanted]).sum(dim=1).mean())
        for ranker, ranked in rankings.items() if count > 1 else ():
            columns = {f"{ranker}_top_1": hits(ranked, wanted, 1), f"{ranker}_top_{FIRST}": hits(ranked, wanted, FIRST)}
            if name == PERMUTED:
                columns[f"{ranker}_original_top_1"] = hits(ranked, labels, 1)
            for column, values in columns.items():
                found |= {column: float(values.mean()), f"{column}_interval": interval(values)}
        if options.controls:
            found["nearest_training_distance"] = float(distances[name].min())
        results[name] = found
    chance: dict[str, object] = {"chance_top_1": 1 / count, f"chance_top_{FIRST}": min(1.0, FIRST / count)}
    if classifier is not None:
        chance["classifier_accuracy_on_drawings"] = classifier.accuracy
    return {**results, "chance": chance}


__all__ = ["VisualizeArguments", "evaluate", "main", "run"]

if __name__ == "__main__":
    main()
