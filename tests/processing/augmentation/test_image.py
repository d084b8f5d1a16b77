import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from wenlan.processing import Augmentation

UNCHANGED = Augmentation(jitter_probability=0, grayscale_probability=0)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(rotation_degrees=9, scale_range=(0.8, 1.2))])
def test_same_seed_gives_the_same_image(augmentation, image):
    results = [[augmentation(image, seed=seed).tobytes() for seed in range(20)] for _ in range(2)]
    assert results[0] == results[1]
    assert len(set(results[0])) > 10


def test_global_generators_are_neither_read_nor_moved(image):
    random.seed(1)
    state = random.getstate()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = Augmentation()(image, seed=3).tobytes()
    assert random.getstate() == state
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[1].tolist() == numpy_state
    random.seed(2)
    assert Augmentation()(image, seed=3).tobytes() == first


def test_image_keeps_size_and_mode_and_the_original_is_untouched(image):
    before = image.tobytes()
    changed = Augmentation(rotation_degrees=9)(image, seed=0)
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert image.tobytes() == before


def test_grey_one_time_in_five(image):
    augmentation = Augmentation(jitter_probability=0)
    pixels = [np.asarray(augmentation(image, seed=seed)) for seed in range(400)]
    fraction = np.mean([bool((photo[..., 0] == photo[..., 1]).all()) for photo in pixels])
    assert fraction == pytest.approx(0.2, abs=0.06)  # three standard deviations of 400 draws


def test_colours_change_four_times_in_five(image):
    augmentation = Augmentation(grayscale_probability=0)
    fraction = np.mean([augmentation(image, seed=seed).tobytes() != image.tobytes() for seed in range(400)])
    assert fraction == pytest.approx(0.8, abs=0.06)


def test_brightness_stays_within_its_range():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    augmentation = Augmentation(contrast=0, saturation=0, hue=0, jitter_probability=1, grayscale_probability=0)
    levels = [augmentation(grey, seed=seed).getpixel((4, 4))[0] for seed in range(200)]
    assert 60 <= min(levels) < 70
    assert 130 < max(levels) <= 140


def test_colour_changes_come_in_random_order(image, monkeypatch):
    calls = []
    for name in ("Brightness", "Contrast", "Color"):
        enhancer = getattr(ImageEnhance, name)
        monkeypatch.setattr(ImageEnhance, name, lambda photo, n=name, e=enhancer: calls.append(n) or e(photo))
    for seed in range(60):
        Augmentation(jitter_probability=1)(image, seed=seed)
    assert len({tuple(calls[start : start + 3]) for start in range(0, len(calls), 3)}) == 6


def test_hue_turns_the_colour_circle():
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    augmentation = Augmentation(0, 0, 0, hue=0.1, jitter_probability=1, grayscale_probability=0)
    colours = [augmentation(red, seed=seed).getpixel((4, 4)) for seed in range(100)]
    assert all(colour[0] == 255 for colour in colours)  # at most a tenth of a turn: between pink and orange
    assert max(colour[1] for colour in colours) == pytest.approx(153, abs=20)  # 0.1 turns of 6 x 255 levels
    assert max(colour[2] for colour in colours) == pytest.approx(153, abs=20)


def test_nothing_switched_on_changes_nothing(image):
    assert UNCHANGED(image, seed=0).tobytes() == image.tobytes()
    assert not UNCHANGED.is_geometric


def test_magnification_enlarges_about_the_centre():
    image = Image.new("RGB", (41, 41), "white")
    image.paste("black", (15, 15, 26, 26))
    doubled = np.asarray(Augmentation(0, 0, 0, 0, 0, 0, scale_range=(2, 2))(image, seed=0))[..., 0]
    rows, columns = np.where(doubled < 128)
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([9.5, 30.5] * 2, abs=0.6)


def test_moved_image_is_filled_with_white():
    image = Image.new("RGB", (40, 40), "black")
    augmentation = Augmentation(0, 0, 0, 0, 0, 0, rotation_degrees=45, translate_fraction=0.2)
    assert augmentation.is_geometric
    corners = np.asarray(
        [np.asarray(augmentation(image, seed=seed))[[0, 0, -1, -1], [0, -1, 0, -1]] for seed in range(20)]
    )
    assert set(np.unique(corners)) <= {0, 255}
    assert (corners == 255).any()


def test_impossible_scale_is_refused():
    with pytest.raises(ValueError, match="scale_range"):
        Augmentation(scale_range=(1.2, 0.8))
