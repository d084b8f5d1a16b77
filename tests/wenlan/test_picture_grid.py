import pytest
from PIL import Image, ImageDraw
from wenlan.data import training_texts

from wenlan.picture_grid import CELL_WIDTH, RIGHT, Cell, draw_grid, load_font
from wenlan.quickstart import SHOWN


def glyph(character, language):
    canvas = Image.new("L", (40, 40))
    ImageDraw.Draw(canvas).text((5, 5), character, font=load_font(20, language), fill=255)
    return canvas.tobytes()


@pytest.mark.parametrize("language", ["zh", "ja", "ko"])
def test_every_letter_has_a_glyph_of_its_own(language):
    letters = set("".join(training_texts(language)) + "".join(SHOWN) + "●…·→，零样本分类看图找名字以词找图")
    missing = glyph("\U0010fffd", language)
    assert [letter for letter in sorted(letters) if glyph(letter, language) == missing] == []


def test_grid_has_room_for_every_row_and_column():
    image = draw_grid("标题", [[Cell(Image.new("RGBA", (96, 96), "red"), [("红", RIGHT)])] * 3] * 2)
    assert image.width > 3 * CELL_WIDTH
    assert image.height > 2 * 96
    assert image.getpixel((10 + CELL_WIDTH // 2, 46 + 48)) == (255, 0, 0)


def test_transparency_is_drawn_on_white():
    image = draw_grid("", [[Cell(Image.new("RGBA", (96, 96), (0, 0, 0, 0)))]])
    assert image.getpixel((10 + CELL_WIDTH // 2, 46 + 48)) == (255, 255, 255)


def test_long_lines_end_in_an_ellipsis_inside_their_cell():
    narrow = draw_grid("", [[Cell(None, [("长" * 50, RIGHT)])]])
    assert narrow.crop((10 + CELL_WIDTH, 46, narrow.width, narrow.height)).getcolors() == [
        ((narrow.width - 10 - CELL_WIDTH) * (narrow.height - 46), (255, 255, 255))
    ]
