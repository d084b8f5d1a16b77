"""The paper's figure 11: images of texts by a frozen BriVL through a frozen VQGAN, whose codes alone are optimised.

    wenlan train-vqgan vqgan_tiny                                           # or wenlan convert vqgan
    wenlan generate runs/quickstart --vqgan runs/vqgan_tiny --texts 向日葵 足球 蝴蝶 青蛙
    wenlan generate MODEL --vqgan VQGAN --file poem.txt --rerank 4          # the best of four for each line
    wenlan generate MODEL --vqgan VQGAN --texts 红苹果 --init_image cat.png
    wenlan generate runs/quickstart --vqgan runs/vqgan_tiny --texts 向日葵 足球 蝴蝶 青蛙 西瓜 --controls

Codes are kept in `codes.npy`: decoded they are the images. Controls make images for permuted texts, by a tower with
random weights and of pixels as in the paper's figure 4, and evaluate all of them by the tower itself, by a classifier
of the drawings that is independent of it where each text names one, and by the distance to the nearest training image.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...analysis.neurons.augmentation import AffineCopies
from ...analysis.neurons.evaluate import random_tower
from ...analysis.neurons.frozen_weights import frozen_weights
from ...analysis.neurons.image_embedding import ImageEmbedder
from ...analysis.neurons.objective import Distance
from ...analysis.neurons.optimization import OptimizationSettings, OptimizedImages, optimize, to_pil_images
from ...analysis.neurons.parametrizations import PixelImages
from ...analysis.neurons.targets import Target, text_targets
from ...analysis.vqgan_inversion.codes import CodedImages, codes_of_image, random_codes
from ...analysis.vqgan_inversion.tower_sizes import EmbedderAtSizes
from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_model
from ...pipelines.device import choose_device
from ...pipelines.open_brivl import open_brivl
from ...pipelines.vqgan import hash_vqgan, open_vqgan
from ...processing.image_decoding import decode_image
from ...training.figure_run import FigureArguments, figure_folder, run_figure, write_csv
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

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel

COPIES_AT_A_TIME = 32  # beyond it memory grows and nothing gets faster
CODES, PIXELS = "codes", "pixels"  # ways of making images; the second as in the paper's figure 4
PIXELS_LEARNING_RATE = 0.05
IMAGES = ("text", "seed", "cosine", "is_best")
PAPER = {
    "figure": 11,
    "section": "3.2",
    "objective": "cosine of the image's embedding and the text's",
    "unknown": ["VQGAN", "optimiser", "learning rate", "steps", "cut-outs"],
}


@dataclass
class GenerateArguments(FigureArguments):
    """Model, VQGAN, texts and how images are made."""

    model: str = option("", "folder or hub id of a BriVL; the first word")
    vqgan: str = option("", "folder or hub id of a VQGAN, of train-vqgan or convert vqgan")
    texts: list[str] = option([], "texts; + joins the parts of a mixture, such as 2*猫+狗")
    file: str | None = option(None, "text file with a text a line, in place of texts")
    init_image: str | None = option(None, "image to start from, in place of random codes")
    rerank: int = option(1, "make so many images of each text, and take the one that is nearest to it", low=1, high=100)
    steps: int = option(60, "of the optimisation", low=1)
    cuts: int = option(4, "copies of an image, moved at random, in each step at another size; 0: the image", low=0)
    distance: Distance = option("cosine", "to the text: cosine, as in the paper, or spherical")
    learning_rate: float = option(0.15, "of Adam", above=0)
    controls: bool = option(False, "evaluate, beside permuted texts, a random tower and pixels")
    output_dir: str = option("runs/generate", "for images, data and metrics")

    def settings(self, learning_rate: float) -> OptimizationSettings:
        """Return the settings of the optimisation, without a weight for smoothness."""
        return OptimizationSettings(
            steps=self.steps, learning_rate=learning_rate, tv_weight=0.0, distance=self.distance
        )


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the figure; return its folder.

    Raises:
        ImportError: diffusers is not installed.
        SystemExit: with 130 after Ctrl-C, with 3 after a loss that is not finite.
        ValueError: options or data are bad.
    """
    return run_figure(GenerateArguments, run, argv, command="wenlan generate")


def run(options: GenerateArguments) -> dict[str, object]:
    """Write images, animations, `codes.npy`, `trace.csv`, `figure11.png` and `metrics.json`; return the last.

    Raises:
        FileNotFoundError: no such model, VQGAN, file or image.
        ValueError: options or data are bad.
        RuntimeError: weights of one of the models changed.
        SystemExit: with 3, after the last good images are written, when the loss is not finite.
    """
    if not (options.model and options.vqgan):
        raise ValueError("Give a BriVL and a VQGAN: wenlan generate MODEL --vqgan VQGAN --texts ...")
    texts, device = read_texts(options.texts, options.file), choose_device(options.device)
    if options.controls and len(texts) < MIN_TEXTS:
        raise ValueError(f"There are {len(texts)} texts; controls permute them: give {MIN_TEXTS} or more.")
    image = None if options.init_image is None else decode_image(options.init_image)
    vqgan = open_vqgan(options.vqgan)
    model, processor = open_brivl(options.model)
    model.to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    vqgan.to(device)  # type: ignore[arg-type]  # and so does diffusers
    embed = ImageEmbedder(model, processor)
    targets = text_targets(model, processor, texts)
    with figure_folder(options) as (folder, metrics), frozen_weights(model, vqgan):
        metrics |= {"model": options.model, "model_hash": hash_model(model)}
        metrics |= {"vqgan": options.vqgan, "vqgan_hash": hash_vqgan(vqgan), "paper": PAPER}
        classifier = open_classifier(texts, seed=options.seed) if options.controls else None
        metrics |= {"texts": texts, "concepts": classifier and classifier.concept_ids}
        start = None if image is None else codes_of_image(vqgan, image)
        generator = Generator(options, embed, vqgan, targets, start)
        images = {CODES: generator.write(folder)}
        if options.controls:
            images |= generator.controls()
        metrics["images"] = evaluate_images(
            embed, generator.vectors, images, classifier, seeds=1, seed=options.seed, controls=options.controls
        )
    return metrics


class Generator:
    """Makes an image of each target, or several of which it takes the nearest.

    Args:
        options: of the command.
        embed: the image tower.
        vqgan: the VQGAN.
        targets: of the texts.
        start: codes (1, h, w) to start from; random ones without.
    """

    def __init__(
        self,
        options: GenerateArguments,
        embed: ImageEmbedder,
        vqgan: "VQModel",
        targets: Sequence[Target],
        start: Tensor | None,
    ) -> None:
        self.options, self.embed, self.vqgan, self.targets, self.start = options, embed, vqgan, targets, start
        self.vectors = torch.stack([target.vector for target in targets])
        self.seeds = range(options.seed, options.seed + options.rerank)

    def optimize(self, embed: ImageEmbedder, vectors: Tensor, *, seed: int) -> tuple[OptimizedImages, Tensor]:
        """Return an image for each target (b, d), and its codes (b, h, w)."""
        options, seeds = self.options, [seed] * len(vectors)
        codes = random_codes(self.vqgan, seeds) if self.start is None else self.start.expand(len(vectors), -1, -1)
        coded = CodedImages(self.vqgan, codes)
        at_a_time = max(1, COPIES_AT_A_TIME // max(options.cuts, 1))
        sizes = EmbedderAtSizes(embed.model, embed.processor, calls=-(-len(vectors) // at_a_time))
        found = optimize(
            coded,
            sizes if options.cuts else embed,
            vectors.to(embed.model.device),
            seeds=seeds,
            augment=AffineCopies(options.cuts, resolutions=(1.0,)) if options.cuts else None,
            settings=options.settings(options.learning_rate),
            batch_size=COPIES_AT_A_TIME,
            progress=True,
        )
        return found, coded.codes_of(found.images)

    def write(self, folder: Path) -> list[Image.Image]:
        """Write the files; return the image of each target.

        Raises:
            KeyboardInterrupt, SystemExit: it was stopped; what was made so far is written.
        """
        options, names = self.options, [target.name for target in self.targets]
        files = ImageFiles(folder, "figure11.png", f"{options.model}, {options.vqgan}", names, to_pil_images)
        images: list[Image.Image] = []
        codes: list[Tensor] = []
        for seed in self.seeds:
            for first in range(0, len(names), BATCH):
                chosen = range(first, min(first + BATCH, len(names)))
                found, own = self.optimize(self.embed, self.vectors[chosen.start : chosen.stop], seed=seed)
                codes.append(own)
                save_codes(folder, torch.cat(codes))
                images += files.add(found, chosen, seed, animates=seed == options.seed)
        cosines = (self.embed.embed_images(images) * self.vectors.repeat(options.rerank, 1)).sum(dim=1)
        best = cosines.view(options.rerank, -1).argmax(dim=0)  # (n,)
        rows = [
            (names[place % len(names)], self.seeds[place // len(names)], f"{cosine:.5f}")
            for place, cosine in enumerate(cosines.tolist())
        ]
        is_best = [int(best[place % len(names)]) == place // len(names) for place in range(len(rows))]
        write_csv(folder / "images.csv", IMAGES, [(*row, one) for row, one in zip(rows, is_best, strict=True)])
        taken = [images[int(which) * len(names) + number] for number, which in enumerate(best)]
        files.draw(list(zip(names, taken, strict=True)))
        return taken

    def controls(self) -> dict[str, list[Image.Image]]:
        """Return the images for permuted texts, of a tower with random weights, and of pixels."""
        tower = random_tower(self.embed.model, seed=self.options.seed)
        random = ImageEmbedder(tower, self.embed.processor)
        # Other starts, since with the same one this would be the images of the other texts again.
        other = self.options.seed + self.options.rerank
        permuted, _ = self.optimize(self.embed, self.vectors.roll(-1, dims=0), seed=other)
        unguided, _ = self.optimize(random, self.vectors, seed=self.options.seed)
        pixels = self._optimize_pixels()
        found = {PERMUTED: permuted, RANDOM_TOWER: unguided, PIXELS: pixels}
        check_controls(found)
        return {name: to_pil_images(result.images) for name, result in found.items()}

    def _optimize_pixels(self) -> OptimizedImages:
        seeds, device = [self.options.seed] * len(self.vectors), self.embed.model.device
        return optimize(
            PixelImages(seeds, self.embed.size, start="normal", device=device),
            self.embed,
            self.vectors.to(device),
            seeds=seeds,
            settings=self.options.settings(PIXELS_LEARNING_RATE),
            progress=True,
        )


def save_codes(folder: Path, codes: Tensor) -> None:
    """Write `codes.npy`: (n, h, w) int32, all texts of the first seed first."""
    content = io.BytesIO()
    np.save(content, codes.numpy().astype(np.int32), allow_pickle=False)
    with atomic_file(folder / "codes.npy") as unfinished:
        unfinished.write_bytes(content.getvalue())


__all__ = ["GenerateArguments", "Generator", "main", "run", "save_codes"]

if __name__ == "__main__":
    main()
