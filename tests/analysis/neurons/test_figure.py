"""Names of files, and the grid of images with their texts."""

from PIL import Image
from wenlan.analysis.neurons.figure import draw_texts, file_stem, save_animation

TEXTS = ["春眠不觉晓", "motýl", "チョウ", "나비", "Schmetterling"]


def test_names_of_files_are_safe_short_and_numbered():
    assert file_stem(0, "2*猫+狗/../x") == "00_2_猫_狗_x"
    assert file_stem(12, "春" * 40) == "12_" + "春" * 24


def test_grid_has_rows_of_four_and_writes_texts_of_all_languages_below():
    image = Image.new("RGB", (64, 64), "red")
    five, four = (draw_texts("title", [(text, image) for text in TEXTS[:count]]) for count in (5, 4))
    assert five.width == four.width
    assert five.height > four.height + 64
    bare = draw_texts("title", [(" ", image)] * 5)
    assert bare.size == five.size
    assert bare.tobytes() != five.tobytes()


def test_animation_rests_at_the_last_frame(tmp_path):
    save_animation(tmp_path / "a.gif", [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")])
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3
        animation.seek(2)
        assert animation.info["duration"] == 1500
        assert animation.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
