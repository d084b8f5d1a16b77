"""The builder of the gallery's images."""

import shutil
import sys
from pathlib import Path

import build_gallery
import pytest

TEXT = """
```bash
wenlan words runs/quickstart --output_dir runs/gallery/words  # minutes
wenlan attention runs/mlmm --texts "en=A cat" \\
    --output_dir runs/gallery/attention
wenlan recipes list
make demo
```
![Words](images/gallery/words/histogram.png)
![Film](images/gallery/words/film.gif)
![Another](images/cat.png)
"""


def test_commands_are_read_with_the_folders_that_they_write_into():
    commands = build_gallery.read_commands(TEXT)
    assert [words[1] for words in commands] == ["words", "attention"]
    assert commands[1][3:5] == ["--texts", "en=A cat"]
    assert [build_gallery.output_folder(words).name for words in commands] == ["words", "attention"]


def test_images_come_to_their_places(tmp_path):
    (tmp_path / "runs" / "words").mkdir(parents=True)
    names = ("histogram.png", "film.gif")
    for name in names:
        (tmp_path / "runs" / "words" / name).write_text(name)
    places = build_gallery.copy_images(TEXT, tmp_path / "runs", tmp_path / "docs")
    assert places == [tmp_path / "docs" / "images" / "gallery" / "words" / name for name in names]
    assert [place.read_text() for place in places] == list(names)


def test_image_that_no_command_made_is_an_error_unless_it_is_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"histogram\.png"):
        build_gallery.copy_images(TEXT, tmp_path / "runs", tmp_path / "docs")
    for name in ("histogram.png", "film.gif"):
        place = tmp_path / "docs" / "images" / "gallery" / "words" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    assert len(build_gallery.copy_images(TEXT, tmp_path / "runs", tmp_path / "docs")) == 2


def test_complete_folder_is_not_made_again_and_a_failed_command_ends_all(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    folder = tmp_path / "words"
    with pytest.raises(SystemExit) as ended:
        build_gallery.run(["wenlan", "words"], folder)
    assert ended.value.code == 1
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    build_gallery.run(["wenlan", "words"], Path(folder))
