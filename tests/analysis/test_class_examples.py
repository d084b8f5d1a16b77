"""The figure of the classes that are known best and worst."""

import numpy as np
import pytest
from PIL import Image
from wenlan.analysis.class_examples import ClassExamples, draw_class_examples
from wenlan.analysis.plots.image_grid import RIGHT, WRONG

SQUARE = Image.new("RGB", (50, 50), "blue")


def count(image, colour):
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    return int((np.asarray(image) == wanted).all(axis=-1).sum())


def test_right_and_wrong_images_differ_in_colour():
    best = [ClassExamples("猫", 100, 3, [(SQUARE, "猫")] * 3), ClassExamples("狗", 50, 2, [(SQUARE, "狗")])]
    right = draw_class_examples("classes", best, best)
    assert count(right, RIGHT) > 5
    assert count(right, WRONG) == 0
    drawn = draw_class_examples("classes", best, [ClassExamples("kočka", 0, 2, [(SQUARE, "pes")] * 2)])
    assert min(count(drawn, RIGHT), count(drawn, WRONG)) > 5
    assert count(drawn, "#0000ff") == 6 * 50 * 50


def test_letters_that_no_font_has_are_an_error(only_pillow):
    best = [ClassExamples("猫", 100, 1, [(SQUARE, "猫")])]
    with pytest.raises(ValueError, match="lacks"):
        draw_class_examples("classes", best, best)
