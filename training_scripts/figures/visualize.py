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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...analysis.neurons.evaluate import random_tower
from ...analysis.neurons.frozen_weights import frozen_weights
from ...analysis.neurons.image_embedding import ImageEmbedder
from ...analysis.neurons.optimization import OptimizedImages, to_pil_images
from ...analysis.neurons.parametrizations import Param
from ...analysis.neurons.targets import Target, image_target, neuron_target, text_targets
from ...analysis.neurons.visualization import COPIES, STEPS, TV_WEIGHT, Mode, visualize
from ...data.files.hashing import hash_model
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.device import choose_device
from ...pipelines.open_brivl import open_brivl
from ...processing.processing_brivl import BriVLProcessor
from ...training.figure_run import FigureArguments, figure_folder, run_figure
from ...training.figures.evaluate_images import (
    MIN_TEXTS,
    PERMUTED,
    RANDOM_TOWER,
    check_controls,
    evaluate_images,
    open_classifier,
)
from ...training.figures.image_files import BATCH, ImageFiles, read_texts
from ...training.recipe_options import option

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
    output_dir: str = option("runs/visualize", "for images, data and metrics")

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
        return text_targets(model, processor, read_texts(self.texts, self.file))

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
    with figure_folder(options) as (folder, metrics), frozen_weights(model):
        metrics |= {"model": options.model, "model_hash": hash_model(model), "texts": names, "paper": PAPER}
        classifier = open_classifier(names, seed=options.seed) if options.controls else None
        metrics["concepts"] = classifier and classifier.concept_ids
        made = MadeImages(options, embed, targets, folder)
        images: dict[str, list[Image.Image]] = {options.mode: made.write()}
        if options.controls:
            images |= made.controls()
        seeds, seed, controls = options.seeds, options.seed, options.controls
        metrics["images"] = evaluate_images(
            embed, made.vectors, images, classifier, seeds=seeds, seed=seed, controls=controls
        )
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
        title = f"{self.options.model} ({self.options.mode})"
        files = ImageFiles(self.folder, "figure4.png", title, [one.name for one in self.targets], self.to_images)
        images: list[Image.Image] = []
        for seed in self.seeds:
            for first in range(0, len(self.targets), BATCH):
                chosen = range(first, min(first + BATCH, len(self.targets)))
                vectors = self.vectors[chosen.start : chosen.stop]
                found = self.options.visualize(self.embed, vectors, mode=self.options.mode, seed=seed)
                images += files.add(found, chosen, seed, animates=seed == self.options.seed)
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
                check_controls({name: result})
                found[name] += self.to_images(result.images)
        return found

    def to_images(self, images: Tensor) -> list[Image.Image]:
        """Return images as the tower sees them."""
        return to_pil_images(self.embed.resize(images).clamp(0, 1))


__all__ = ["VisualizeArguments", "main", "run"]

if __name__ == "__main__":
    main()
