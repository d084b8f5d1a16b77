"""Folders of small images, a folder a class, as probes and zero-shot evaluations read them."""

from pathlib import Path

import numpy as np
from helpers.brivl.tiny_folder import save_tiny_folder
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}


def write_image_folder(folder: Path, *, count: int = 4, seed: int = 0, colours: dict = COLOURS) -> Path:
    """Writes `count` noisy images of each colour into folders of their names."""
    rng = np.random.default_rng(seed)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(-40, 40, (24, 24, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_probe_inputs(root: Path) -> Path:
    """Writes what a probe needs: `model`, a tiny BriVL, and `train` and `test`, 15 and 12 images of 3 colours."""
    save_tiny_folder(root / "model")
    write_image_folder(root / "train", count=5, seed=1)
    write_image_folder(root / "test", count=4, seed=2)
    return root


__all__ = ["COLOURS", "write_image_folder", "write_probe_inputs"]
