import numpy as np
import pytest
from PIL import Image
from wenlan.processing import DetectionAugmentation

BOXES = [[2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 20.0, 10.0]]


@pytest.fixture
def photo():
    """20 x 10, black but for a white patch at the first box."""
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[3:8, 2:6] = 255
    return Image.fromarray(pixels)


def test_boxes_follow_the_mirror_image(photo):
    image, boxes = DetectionAugmentation(flip_probability=1.0)(photo, BOXES, seed=1)
    assert boxes == [[14.0, 3.0, 4.0, 5.0], [0.0, 0.0, 20.0, 10.0]]
    pixels = np.asarray(image)
    assert pixels[3:8, 14:18].min() == 255
    assert pixels.sum() == np.asarray(photo).sum()


def test_nothing_changes_where_nothing_is_asked_for(photo):
    image, boxes = DetectionAugmentation(flip_probability=0.0)(photo, BOXES, seed=1)
    assert boxes == BOXES
    assert np.array_equal(image, photo)


def test_draws_depend_on_the_seed_alone(photo):
    augmentation = DetectionAugmentation(scale_range=(0.5, 2.0), colours={"jitter_probability": 1.0})
    first, again = augmentation(photo, BOXES, seed=3), augmentation(photo, BOXES, seed=3)
    assert first[1] == again[1]
    assert np.array_equal(first[0], again[0])
    assert augmentation.draw_scale(3) == augmentation.draw_scale(3) != augmentation.draw_scale(4)
    starts = {augmentation(photo, BOXES, seed=seed)[1][0][0] for seed in range(20)}
    assert starts == {2.0, 14.0}


def test_colours_change_the_image_and_not_the_boxes():
    colours = {"brightness": 0.4, "jitter_probability": 1.0}
    photo = Image.new("RGB", (20, 10), (90, 120, 60))
    image, boxes = DetectionAugmentation(0.0, colours=colours)(photo, BOXES, seed=1)
    assert boxes == BOXES
    assert not np.array_equal(image, photo)


def test_image_without_boxes_is_changed_too(photo):
    assert DetectionAugmentation(1.0)(photo, [], seed=1)[1] == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"colours": {"rotation_degrees": 5.0}}, "leave its boxes behind"), ({"scale_range": (0, 1)}, "0 < smallest")],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DetectionAugmentation(**wrong)
