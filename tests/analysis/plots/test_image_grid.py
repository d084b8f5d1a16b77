import numpy as np
from PIL import Image
from wenlan.analysis.plots.image_grid import CELL_WIDTH, RIGHT, Cell, draw_grid

from wenlan.demos.brivl import SHOWN


def last_row_of_ink(image):
    return (np.asarray(image.convert("L")) < 128).any(axis=1).nonzero()[0].max()


def test_letters_of_the_quickstart_are_there():
    lines = [(line, RIGHT) for line in ("".join(SHOWN[:4]), "".join(SHOWN[4:]), "● …")]
    assert draw_grid("，零样本分类看图找名字以词找图 · →", [[Cell(None, lines)]]).height > 3 * 21


def test_each_line_is_set_in_a_font_that_has_its_letters():
    czech, chinese = ("příliš žluťoučký kůň", RIGHT), ("猫", RIGHT)
    grids = {line: draw_grid("", [[Cell(None, [line])] * 2]) for line in (czech, chinese)}
    mixed = draw_grid("", [[Cell(None, [czech]), Cell(None, [chinese])]])
    half = (0, 0, 10 + CELL_WIDTH, mixed.height), (10 + CELL_WIDTH, 0, *mixed.size)
    assert mixed.crop(half[0]) == grids[czech].crop(half[0])
    assert mixed.crop(half[1]) == grids[chinese].crop(half[1])
    assert grids[czech] == draw_grid("", [[Cell(None, [czech])] * 2], language="cs")


def test_lines_in_different_fonts_stand_on_one_baseline():
    zh, cs = (draw_grid("", [[Cell(None, [("EH", RIGHT)])]], language=language) for language in ("zh", "cs"))
    assert zh != cs
    assert last_row_of_ink(zh) == last_row_of_ink(cs)


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


def test_a_cell_is_set_in_the_letter_forms_of_its_own_language():
    letters = [("直海骨", RIGHT)]
    japanese, chinese = (draw_grid("", [[Cell(None, letters)]], language=language) for language in ("ja", "zh"))
    assert japanese != chinese
    assert draw_grid("", [[Cell(None, letters, "ja")]], language="zh") == japanese
