import numpy as np
import pytest
from wenlan.data import CLASS_NAMES
from wenlan.data.emoji_scenes.objects import STYLES, TRAIN_STYLES, VISIBLE, draw_object, styles_of_class

CAT = CLASS_NAMES["en"].index("cat")


def visible(image):
    return np.asarray(image)[..., 3] > VISIBLE


def test_twenty_classes_lack_two_styles_and_no_other_is_missing():
    missing = [set(STYLES) - set(styles_of_class(i)) for i in range(128)]
    assert sum(styles == {"notov1", "emojitwo"} for styles in missing) == 20
    assert sum(styles == set() for styles in missing) == 108


def test_styles_keep_the_order_that_is_asked_for():
    assert styles_of_class(CAT, ("twemoji", "noto")) == ("twemoji", "noto")
    assert styles_of_class(CAT, TRAIN_STYLES) == TRAIN_STYLES


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("angle", [-12.0, 0.0, 7.5])
def test_object_is_cut_to_its_visible_pixels_and_has_the_side_asked_for(style, angle):
    for category_id in range(0, 128, 9):
        if style not in styles_of_class(category_id):
            continue
        image = draw_object(category_id, style, side=33, flipped=False, angle=angle)
        rows, columns = visible(image).any(1), visible(image).any(0)
        assert [rows[0], rows[-1], columns[0], columns[-1]] == [True] * 4
        assert max(image.size) in (32, 33)


def test_flipped_object_is_the_mirror_of_the_other():
    image, mirrored = (
        np.asarray(draw_object(CAT, "noto", side=96, flipped=flipped, angle=0.0)) for flipped in (False, True)
    )
    assert image.shape == mirrored.shape
    assert np.abs(image[:, ::-1].astype(int) - mirrored).max() <= 2
    assert np.abs(image.astype(int) - mirrored).mean() > 10


def test_angle_turns_the_object_counter_clockwise():
    upright, turned = (
        draw_object(CLASS_NAMES["en"].index("rocket"), "twemoji", side=60, flipped=False, angle=angle)
        for angle in (0.0, 45.0)
    )
    # A rocket that points to the upper right points up when it is turned by 45 degrees.
    assert abs(upright.width / upright.height - 1) < 0.1
    assert turned.height > 1.3 * turned.width


def test_edges_hold_no_dark_fringe():
    """No colour of transparent pixels leaks in: an egg stays as light where it fades."""
    image = np.asarray(draw_object(CLASS_NAMES["en"].index("egg"), "noto", side=30, flipped=False, angle=10.0)).astype(
        int
    )
    edge = image[(image[..., 3] > VISIBLE) & (image[..., 3] < 200)]
    inside = image[image[..., 3] == 255]
    assert len(edge) > 20
    assert edge[:, :3].mean() > inside[:, :3].mean() - 40
