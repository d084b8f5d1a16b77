import numpy as np
import pytest
import torch
from wenlan.training.vqgan.data import VQGANDataArguments, load_drawings, take_evenly


@pytest.fixture(scope="module")
def drawings():
    return load_drawings(VQGANDataArguments(image_size=32, train_limit=40), seed=5)


def test_training_styles_and_the_style_of_the_evaluation_are_apart(drawings):
    trained, unseen = drawings
    assert len(trained) == 40
    assert len(set(trained.drawings["style"])) == 4
    assert set(unseen.drawings["style"]) == {"fluent3d"}


def test_backgrounds_and_places_change_with_the_epoch_and_with_nothing_else(drawings):
    trained, unseen = drawings
    first = [trained[index]["pixel_values"] for index in range(8)]
    assert all(image.shape == (3, 32, 32) and 0 <= image.min() <= image.max() <= 1 for image in first)
    again = load_drawings(VQGANDataArguments(image_size=32, train_limit=40), seed=5)[0]
    assert all(torch.equal(image, again[index]["pixel_values"]) for index, image in enumerate(first))
    trained.set_epoch(1)
    later = [trained[index]["pixel_values"] for index in range(8)]
    trained.set_epoch(0)
    assert not any(torch.equal(one, other) for one, other in zip(first, later, strict=True))
    corners = torch.stack([image[:, 0, 0] for image in first + later])
    assert 0 < (corners == 1).all(dim=1).sum() < len(corners)  # half of them are white
    assert torch.equal(unseen[3]["pixel_values"], unseen[3]["pixel_values"])


def test_stored_drawings_lie_on_white_as_brivl_sees_them(drawings):
    from wenlan.processing import decode_image

    image = drawings[1].drawings[0]["image"]
    wanted = np.asarray(decode_image(image).resize((32, 32), 1)) / 255
    found = drawings[1][0]["pixel_values"].movedim(0, -1).numpy()
    assert np.abs(found - wanted).mean() < 0.02  # composed before or after the resize


def test_batches_hold_all_images_in_order(drawings):
    trained, _ = drawings
    batches = list(trained.batches(16))
    assert [len(batch) for batch in batches] == [16, 16, 8]
    assert torch.equal(batches[2][1], trained[33]["pixel_values"])


def test_limit_takes_rows_from_end_to_end(drawings):
    names = drawings[1].drawings["concept"]
    assert take_evenly(drawings[1].drawings, 3)["concept"] == [names[0], names[round((len(names) - 1) / 2)], names[-1]]
    assert take_evenly(drawings[1].drawings, 10**6) is drawings[1].drawings
