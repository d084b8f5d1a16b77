"""Files of images that are optimised for texts: written as they are made, so that a stop leaves what there is."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from ...analysis.neurons.figure import GRID_IMAGE, draw_texts, file_stem, save_animation, save_image
from ...analysis.neurons.optimization import OptimizedImages
from ...analysis.plots.fonts import readable
from ...data.files.bounded import read_bounded_text
from ..figure_run import write_csv

TRACE = ("text", "seed", "step", "cosine", "tv", "gradient_norm")
NON_FINITE = 3  # an exit code
BATCH = 16  # texts at a time
MAX_SHOWN = 400  # images in a figure; all have files


def read_texts(texts: Sequence[str], file: str | None) -> list[str]:
    """Return the texts that are given, or those of a file, one a line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: both or neither are given, the file has none, or one comes twice.
    """
    if bool(texts) == (file is not None):
        raise ValueError("Give either --texts or --file.")
    if file is not None:
        texts = [line.strip() for line in read_bounded_text(Path(file)).splitlines() if line.strip()]
        if not texts:
            raise ValueError(f"{file} has no text; write one a line.")
    if len(set(texts)) < len(texts):
        raise ValueError("A text is given twice; give each once, and more seeds for more images of it.")
    return list(texts)


class ImageFiles:
    """The files of a figure: an image of each text and seed, an animation of each text, the trace, and the figure.

    Args:
        folder: of all files.
        figure: name of the grid of all images.
        title: of the grid.
        names: of the targets.
        to_images: makes RGB images of a tensor (b, 3, h, w) in [0, 1].
    """

    def __init__(
        self,
        folder: Path,
        figure: str,
        title: str,
        names: Sequence[str],
        to_images: Callable[[Tensor], list[Image.Image]],
    ) -> None:
        self.folder, self.figure, self.names, self.to_images = folder, figure, names, to_images
        self.title = readable(title, figure)
        self.labels = {name: readable(name, f"{number:02}") for number, name in enumerate(names)}
        self.shown: list[tuple[str, Image.Image]] = []
        self.trace: list[Sequence[object]] = []

    def add(self, found: OptimizedImages, chosen: range, seed: int, *, animates: bool) -> list[Image.Image]:
        """Write the images of the targets `chosen`, and the trace and the figure with them; return the images.

        Raises:
            KeyboardInterrupt: making them was interrupted; they are written.
            SystemExit: with 3, the loss was not finite; the last good images are written.
        """
        images = self.to_images(found.images)
        names = [self.names[number] for number in chosen]
        frames = [self.to_images(frame / 255) for frame in found.frames] if animates else []
        for place, number in enumerate(chosen):
            stem = file_stem(number, self.names[number])
            save_image(self.folder / f"{stem}_{seed}.png", images[place])
            if animates:
                save_animation(self.folder / f"{stem}_progress.gif", [frame[place] for frame in frames])
        self.trace += [
            (names[row.image], seed, row.step, f"{row.cosine:.5f}", f"{row.tv:.5f}", f"{row.gradient_norm:.5g}")
            for row in found.trace
        ]
        write_csv(self.folder / "trace.csv", TRACE, self.trace)
        self.shown += zip(names, images, strict=True)
        self.draw(self.shown)
        if found.stopped == "interrupted":
            raise KeyboardInterrupt
        if found.stopped == "non-finite":
            print(f"Stopped: the loss is not finite; the last good images are in {self.folder}.", file=sys.stderr)
            raise SystemExit(NON_FINITE)
        return images

    def draw(self, shown: Sequence[tuple[str, Image.Image]]) -> None:
        """Write the figure: the first images with their texts, small ones enlarged.

        A text that no font has all letters of is shown by its number, which the name of its file has, too.
        """
        enlarged = [(self.labels[text], _enlarge(image)) for text, image in shown[:MAX_SHOWN]]
        save_image(self.folder / self.figure, draw_texts(self.title, enlarged))


def _enlarge(image: Image.Image) -> Image.Image:
    if image.width >= GRID_IMAGE:
        return image
    return image.resize((GRID_IMAGE, GRID_IMAGE), Image.Resampling.BICUBIC)


__all__ = ["BATCH", "NON_FINITE", "TRACE", "ImageFiles", "read_texts"]
