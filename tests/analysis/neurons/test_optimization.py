"""The optimisation: cosines rise, images of a batch are independent, and what was good is kept."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F
from wenlan.analysis import (
    AffineCopies,
    FourierImages,
    ImageEmbedder,
    OptimizationSettings,
    PixelImages,
    frozen_weights,
    optimize,
    text_targets,
    to_pil_images,
)
from wenlan.analysis.neurons.objective import embedding_loss, total_variation
from wenlan.analysis.neurons.parametrizations import on_background

TEXTS, SIZE = ["一只猫", "雪山和湖", "红色的苹果"], 64
SHORT = OptimizationSettings(steps=6, frames=3)


@pytest.fixture
def parts(tiny_brivl):
    """An embedder at 64 pixels and three targets."""
    targets = torch.stack([target.vector for target in text_targets(*tiny_brivl, TEXTS)])
    return ImageEmbedder(*tiny_brivl, size=SIZE), targets


@pytest.mark.parametrize("images", [PixelImages, FourierImages, partial(FourierImages, opacity=True)])
@pytest.mark.parametrize("augment", [None, AffineCopies(copies=3)])
@pytest.mark.parametrize("distance", ["cosine", "spherical"])
def test_cosines_rise_and_weights_stay(tiny_brivl, parts, images, augment, distance):
    rate = 0.05 if images is PixelImages else 0.3
    settings = OptimizationSettings(steps=15, learning_rate=rate, distance=distance, tv_weight=0)
    with frozen_weights(tiny_brivl[0]):
        found = optimize(images([0, 1, 2], SIZE), *parts, seeds=[0, 1, 2], augment=augment, settings=settings)
    first, last = ([row.cosine for row in found.trace if row.step == step] for step in (0, 14))
    assert all(after > before + 0.01 for before, after in zip(first, last, strict=True))
    assert found.stopped is None
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert all(row.gradient_norm > 0 for row in found.trace)


@pytest.mark.parametrize("images", [PixelImages, FourierImages])
def test_text_alone_gives_what_it_gives_in_a_batch(parts, images):
    embed, targets = parts
    seeds, augment = [5, 6, 7], AffineCopies(copies=2)
    together = optimize(images(seeds, SIZE), embed, targets, seeds=seeds, augment=augment, settings=SHORT, batch_size=4)
    alone = optimize(images([6], SIZE), embed, targets[1:2], seeds=[6], augment=augment, settings=SHORT)
    # Adam makes a step of a gradient that is near zero, whose sign rounding decides: so the mean, not the largest.
    assert (together.images[1] - alone.images[0]).abs().mean() < 1e-3
    assert (together.images[0] - alone.images[0]).abs().mean() > 0.02
    own = [row.cosine for row in together.trace if row.image == 1]
    assert own == pytest.approx([row.cosine for row in alone.trace], abs=1e-4)


def test_same_seed_gives_the_same_bytes_and_another_seed_another_image(parts):
    embed, targets = parts

    def run(seed):
        start = PixelImages([seed], SIZE)
        return optimize(start, embed, targets[:1], seeds=[seed], augment=AffineCopies(2), settings=SHORT)

    assert torch.equal(run(1).images, run(1).images)
    assert not torch.allclose(run(1).images, run(2).images, atol=0.01)


def test_frames_are_evenly_spaced_and_end_with_the_result(parts):
    found = optimize(PixelImages([0, 1, 2], SIZE), *parts, seeds=[0, 1, 2], settings=SHORT)
    assert len(found.frames) == 4
    assert to_pil_images(found.frames[-1])[0].tobytes() == to_pil_images(found.images)[0].tobytes()
    assert [row.step for row in found.trace if row.image == 2] == list(range(6))


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_images(parts):
    embed, targets = parts
    calls = []

    def breaks(images):
        calls.append(images.detach().clone())
        return embed(images) * (float("nan") if len(calls) == 4 else 1)

    found = optimize(PixelImages([0, 1, 2], SIZE), breaks, targets, seeds=[0, 1, 2], settings=SHORT)
    assert found.stopped == "non-finite"
    assert torch.equal(found.images, calls[2])
    assert max(row.step for row in found.trace) == 2
    assert len(found.frames) == 3


def test_parameters_that_are_not_finite_after_the_last_step_are_not_returned(parts):
    class Breaks(PixelImages):
        def project(self):
            with torch.no_grad():
                self.pixels.fill_(float("nan"))

    start = Breaks([0, 1, 2], SIZE)
    expected = start.decode().detach().clone()
    found = optimize(start, *parts, seeds=[0, 1, 2], settings=OptimizationSettings(steps=1))
    assert found.stopped == "non-finite"
    assert torch.equal(found.images, expected)


def test_ctrl_c_keeps_what_there_is(parts):
    embed, targets = parts
    calls = []

    def interrupts(images):
        calls.append(images.detach().clone())
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(images)

    found = optimize(PixelImages([0, 1, 2], SIZE), interrupts, targets, seeds=[0, 1, 2], settings=SHORT)
    assert found.stopped == "interrupted"
    assert torch.equal(found.images, calls[1])


def test_changed_weights_are_an_error(tiny_brivl):
    weight = tiny_brivl[0].vision_model.region_projection.bias
    before = weight.detach().clone()
    with pytest.raises(RuntimeError, match="weights have changed"), frozen_weights(tiny_brivl[0]):
        weight.data += 1
    weight.data.copy_(before)
    assert weight.requires_grad


def test_copies_without_changes_are_the_image_and_mirrored_outside():
    images = torch.rand(2, 3, 8, 8)
    same = AffineCopies(2, rotation_degrees=0, scale_range=(1, 1), shift_fraction=0, resolutions=(1,), noise_std=0)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    torch.testing.assert_close(same(images, generators), images.repeat_interleave(2, dim=0))
    moved = AffineCopies(50, noise_std=0)(torch.ones(2, 3, 8, 8), generators)
    torch.testing.assert_close(moved, torch.ones(100, 3, 8, 8))


def test_image_with_opacity_is_seen_on_many_backgrounds_and_shown_on_white():
    images = torch.cat([torch.full((1, 3, 8, 8), 0.25), torch.full((1, 1, 8, 8), 0.5)], dim=1)
    torch.testing.assert_close(on_background(images), torch.full((1, 3, 8, 8), 0.625))
    plain = AffineCopies(20, noise_std=0)(images, [torch.Generator().manual_seed(0)])
    colours = plain[:, :, 0, 0]
    torch.testing.assert_close(plain, colours[:, :, None, None].expand_as(plain))
    assert 0.125 <= colours.min() < 0.2
    assert 0.55 < colours.max() <= 0.625
    start = FourierImages([0], SIZE, opacity=True).decode()
    assert start.shape == (1, 4, SIZE, SIZE)
    assert start[0, 3, SIZE // 2, SIZE // 2] > 0.8
    assert start[0, 3, 0, 0] < 0.1


def test_copies_are_reduced_to_their_resolutions():
    stripes = torch.arange(16).remainder(2).float().expand(2, 3, 16, 16)
    copies = AffineCopies(
        3, rotation_degrees=0, scale_range=(1, 1), shift_fraction=0, resolutions=(0.25, 1), noise_std=0
    )
    found = copies(stripes, [torch.Generator(), torch.Generator()])
    assert (found.std(dim=(1, 2, 3)) > 0.4).tolist() == [False, True, False] * 2


def test_objective_of_known_values():
    checker = (torch.arange(4)[:, None] + torch.arange(4)).remainder(2).float().expand(1, 3, 4, 4)
    assert total_variation(checker).item() == pytest.approx(2)
    assert total_variation(torch.full((1, 3, 4, 4), 0.3)).item() == 0
    cosines = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    assert embedding_loss(cosines).tolist() == [-1, 0, 1]
    spherical = embedding_loss(cosines, "spherical")
    assert spherical.tolist() == pytest.approx([0, torch.pi**2 / 8, torch.pi**2 / 2], abs=1e-2)
    spherical.sum().backward()
    assert cosines.grad.isfinite().all()


def test_numbers_that_do_not_match_are_refused(parts):
    embed, targets = parts
    with pytest.raises(ValueError, match="2 images, 3 targets, 2 seeds"):
        optimize(PixelImages([0, 1], SIZE), embed, targets, seeds=[0, 1], settings=SHORT)
    with pytest.raises(ValueError, match="steps is 0"):
        OptimizationSettings(steps=0)
    with pytest.raises(ValueError, match="copies is 0"):
        AffineCopies(copies=0)


def test_paper_start_is_normal_noise_and_fourier_start_is_near_grey():
    noise = PixelImages([0], SIZE, start="normal").decode()
    assert noise.std().item() == pytest.approx(0.1, abs=0.005)
    grey = FourierImages([0], SIZE).decode()
    assert F.mse_loss(grey, torch.full_like(grey, 0.5)) < 0.01
