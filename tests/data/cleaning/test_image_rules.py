import io
from pathlib import Path

import pytest
from PIL import Image
from wenlan.data.cleaning import image_rules as clean_image_rules
from wenlan.data.cleaning.image_rules import examine_image, relative_path
from wenlan.data.cleaning.near_duplicates import difference_hash
from wenlan.data.files.hashing import fingerprint
from wenlan.data.rows.report import BadRowError
from wenlan.processing import decode_image


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_facts_of_a_image(tmp_path):
    image = Image.linear_gradient("L").resize((30, 20)).convert("RGB")
    (tmp_path / "a.png").write_bytes(png(image))
    facts = examine_image("a.png", tmp_path, decode_image)
    assert (facts.width, facts.height, facts.one_colour) == (30, 20, False)
    assert facts.num_bytes == len(png(image))
    assert facts.fingerprint == fingerprint(png(image))
    assert facts.difference_hash == difference_hash(image)
    assert examine_image(png(image), tmp_path, decode_image) == facts


def test_transparent_image_of_one_colour_on_white_is_seen_as_such(tmp_path):
    assert examine_image(png(Image.new("RGBA", (9, 9), (9, 9, 9, 0))), tmp_path, decode_image).one_colour


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("none.png", "file missing"),
        ("folder", "file missing"),
        ("n" * 5000, "file missing"),
        ("nul\0.png", "file missing"),
        ("empty.png", "empty file"),
        ("note.png", "not an image"),
        ("../a.png", "path leaves image root"),
        ("/etc/hostname", "path leaves image root"),
        ("", "path leaves image root"),
        ("http://a.com/a.png", "image is a URL"),
        ("\udce9.png", "invalid UTF-8"),
    ],
)
def test_unusable_image_names_its_cause(path, cause, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "note.png").write_text("note")
    error = examine_image(path, tmp_path, decode_image)
    assert isinstance(error, BadRowError)
    assert error.cause == cause


def test_endless_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(clean_image_rules, "MAX_BYTES", 1000)
    (tmp_path / "a.png").write_bytes(bytes(1001))
    assert examine_image("a.png", tmp_path, decode_image).cause == "too large"


@pytest.mark.parametrize("path", ["a/b.png", "./a/../a/b.png", "/crawl/a/b.png", "a//b.png"])
def test_paths_to_one_file_become_one(path):
    assert relative_path(path, Path("/crawl")) == "a/b.png"


def test_root_of_the_file_system_may_be_the_image_root():
    assert relative_path("a/b.png", Path("/")) == "a/b.png"


def test_folder_whose_name_begins_like_the_root_is_outside():
    with pytest.raises(BadRowError, match="leaves image root"):
        relative_path("../crawl2/a.png", Path("/crawl"))
