"""Attention drawn into images."""

import numpy as np
import pytest
import torch
from PIL import Image
from wenlan.analysis import RegionAttention, draw_attention_grid, draw_attention_panels, draw_region_attention
from wenlan.analysis.region_attention.figure import heat_map

TEXTS = {
    "zh": ("图中有钥匙", "钥匙"),
    "en": ("Picture of a key", "key"),
    "de": ("Ein Schlüssel", "Schlüssel"),
    "fr": ("Image d'une clé", "clé"),
    "cs": ("Obrázek: klíč, žlutá", "klíč"),
    "ja": ("鍵の絵", "鍵"),
    "ko": ("그림: 열쇠", "열쇠"),
}
BOXES = torch.tensor([[10.0, 10, 40, 30], [60, 20, 90, 60]])


@pytest.fixture
def photo():
    return Image.new("RGB", (100, 80), (40, 90, 200))


def attention(text, weights=(0.9, 0.1)):
    """One piece a character, all with the same weights."""
    rows = torch.tensor([weights]).expand(len(text), -1)
    spans = [(index, index + 1) for index in range(len(text))]
    return RegionAttention(text, list(text), spans, BOXES, rows, torch.ones(len(text)))


def colourfulness(image, box):
    pixels = np.asarray(image.crop(tuple(box)), dtype=int)
    return (pixels.max(axis=2) - pixels.min(axis=2)).mean()


def test_heat_of_a_pixel_is_the_sum_of_the_boxes_that_hold_it():
    boxes = torch.tensor([[0.0, 0, 4, 3], [2, 1, 6, 5], [-5, -5, 99, 1]])
    heat = heat_map((6, 5), boxes, torch.tensor([0.5, 0.25, 0.125]))
    assert heat.shape == (5, 6)
    assert [heat[0, 0], heat[2, 2], heat[4, 5], heat[4, 0]] == [0.625, 0.75, 0.25, 0]


def test_box_thinner_than_a_pixel_has_one():
    heat = heat_map((6, 5), torch.tensor([[2.2, 3.1, 2.3, 3.2]]), torch.tensor([1.0]))
    assert heat.sum() == heat[3, 2] == 1


def test_what_is_attended_to_has_colour_and_the_rest_is_pale(photo):
    drawn = draw_region_attention(photo, BOXES, torch.tensor([0.9, 0.1]), top=0)
    assert drawn.size == photo.size
    strong, weak, none = (colourfulness(drawn, box) for box in ([12, 12, 38, 28], [62, 22, 88, 58], [0, 40, 50, 80]))
    assert strong > weak > none == 0


def test_shared_peak_makes_images_comparable(photo):
    weak, strong = torch.tensor([0.2, 0.0]), torch.tensor([0.8, 0.0])
    inside = [12, 12, 38, 28]
    own = [colourfulness(draw_region_attention(photo, BOXES, one, top=0), inside) for one in (weak, strong)]
    shared = [
        colourfulness(draw_region_attention(photo, BOXES, one, top=0, peak=0.8), inside) for one in (weak, strong)
    ]
    assert own[0] == own[1] == shared[1] > shared[0]


def test_regions_with_the_greatest_weights_are_outlined(photo):
    weights = torch.tensor([0.1, 0.9])
    plain = np.asarray(draw_region_attention(photo, BOXES, weights, top=0), dtype=int)
    outlined = np.asarray(draw_region_attention(photo, BOXES, weights, top=1), dtype=int)
    changed = (plain != outlined).any(axis=2)
    assert changed[59, 75]  # lower edge of the second box
    assert not changed[:, :55].any()


def test_enlarged_image_is_shaded_in_the_same_places(photo):
    drawn = draw_region_attention(photo, BOXES, torch.tensor([1.0, 0.0]), scale=2, top=0)
    assert drawn.size == (200, 160)
    assert colourfulness(drawn, [24, 24, 76, 56]) > colourfulness(drawn, [120, 60, 180, 120]) == 0


def test_weights_that_are_not_as_many_as_the_boxes_are_refused(photo):
    with pytest.raises(ValueError, match="3 weights for 2 boxes"):
        draw_region_attention(photo, BOXES, torch.ones(3))


def test_panels_hold_the_image_and_one_of_each_language(photo):
    attentions = {language: attention(text) for language, (text, _) in TEXTS.items()}
    words = {language: word for language, (_, word) in TEXTS.items()}
    sheet = np.asarray(draw_attention_panels(photo, attentions, words, scale=2))
    assert sheet.shape[1] == 4 * (200 + 12) + 12
    assert sheet.shape[0] > 2 * 160
    marked = (sheet == (0xC2, 0x41, 0x0C)).all(axis=2)
    columns = [marked[: sheet.shape[0] // 2, 12 + 212 * one : 212 * (one + 1)].any() for one in range(4)]
    assert columns == [False, True, True, True]
    assert (sheet == (40, 90, 200)).all(axis=2).sum() == 200 * 160  # the photo itself


def test_long_text_is_broken_into_lines(photo):
    short, long = (
        draw_attention_panels(photo, {"zh": attention(text)}, {"zh": "钥匙"}) for text in ("钥匙", "钥匙" * 40)
    )
    assert long.width == short.width
    assert long.height > short.height


@pytest.mark.parametrize(
    ("language", "text", "words", "message"),
    [
        ("en", "a key", {}, "no words to draw the attention of in en"),
        ("en", "a key", {"en": "dog"}, "'dog' is not in the text"),
        ("en", "a key \ue000", {"en": "key"}, "lacks \ue000"),
    ],
)
def test_mistake_says_what_is_wrong(photo, language, text, words, message):
    with pytest.raises(ValueError, match=message):
        draw_attention_panels(photo, {language: attention(text)}, words)


def test_nothing_to_draw_is_refused(photo):
    with pytest.raises(ValueError, match="no attention"):
        draw_attention_panels(photo, {}, {})


def test_grid_has_a_row_a_language_and_a_column_a_word(photo):
    attentions = {language: attention(text) for language, (text, _) in TEXTS.items()}
    words = {language: [(0, 2), (2, 4)] for language in TEXTS}
    sheet = np.asarray(draw_attention_grid(photo, attentions, words, scale=2))
    assert sheet.shape[1] == 2 * (200 + 12) + 12
    assert sheet.shape[0] > 8 * 160
    marked = (sheet == (0xC2, 0x41, 0x0C)).all(axis=2)
    runs = np.flatnonzero(np.diff(marked[:, :212].any(axis=1).astype(int)) == 1)
    assert len(runs) >= len(TEXTS)
    assert marked[:, 212:].any()


def test_grid_shades_all_panels_on_one_scale(photo):
    attentions = {"zh": attention("钥匙", (0.2, 0.0)), "en": attention("key", (0.8, 0.0))}
    sheet = draw_attention_grid(photo, attentions, {"zh": [(0, 2)], "en": [(0, 3)]}, top=0)
    weak, strong = (colourfulness(sheet, (24, bottom - 68, 48, bottom - 52)) for bottom in rows_of(sheet))
    assert strong > weak > 0


def rows_of(sheet):
    """Returns the lower edges of two panels."""
    grey = (np.asarray(sheet)[:, 15] != 255).any(axis=1)
    return [edge for edge in np.flatnonzero(np.diff(grey.astype(int)) == -1) + 1 if grey[edge - 80 : edge].all()][-2:]


@pytest.mark.parametrize("words", [{}, {"en": []}])
def test_grid_without_words_is_refused(photo, words):
    with pytest.raises(ValueError, match="no attention to draw"):
        draw_attention_grid(photo, {"en": attention("a key")}, words)
