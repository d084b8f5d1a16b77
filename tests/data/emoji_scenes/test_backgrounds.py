import random

import numpy as np
import pytest
from wenlan.data.emoji_scenes.backgrounds import BACKGROUND_KINDS, COLOURS, RGB, draw_background


def background(colour, kind, seed=0, canvas=192):
    image = draw_background(colour, kind, random.Random(seed), np.random.default_rng(seed), canvas)
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
@pytest.mark.parametrize("colour", COLOURS)
def test_every_pixel_is_nearest_to_the_named_colour(colour, kind):
    pixels = background(colour, kind, seed=3)
    assert pixels.shape == (192, 192, 3)
    distances = np.abs(pixels.mean((0, 1)) - np.array(list(RGB.values()))).sum(1)
    assert COLOURS[distances.argmin()] == colour
    each = np.stack([np.abs(pixels - np.array(rgb)).sum(-1) for rgb in RGB.values()])
    assert (each.argmin(0) == COLOURS.index(colour)).mean() > 0.999


@pytest.mark.parametrize("kind", BACKGROUND_KINDS[1:])
def test_pattern_is_seen_and_changes_with_the_seed(kind):
    images = [background("blue", kind, seed) for seed in range(8)]
    assert all(image.std((0, 1)).max() > 3 for image in images)
    assert len({image.tobytes() for image in images}) > 4


def test_flat_background_has_one_colour():
    assert (background("red", "flat") == RGB["red"]).all()


def test_stripes_and_checker_have_two_shades():
    for kind in ("stripes", "checker"):
        assert len(np.unique(background("green", kind).reshape(-1, 3), axis=0)) == 2


def test_noise_comes_from_its_own_generator():
    rng = random.Random(5)
    state = rng.getstate()
    draw_background("pink", "noise", rng, np.random.default_rng(5), 64)
    assert rng.getstate() == state
