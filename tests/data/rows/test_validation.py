import json
import os
import unicodedata

import pytest
from PIL import Image
from wenlan.data import read_captions, read_coco_detection, read_pairs
from wenlan.data.rows.report import BadRowError
from wenlan.data.rows.validation import path_below_root
from wenlan.processing import decode_image

NAME = "相册é/が ё.png"


def in_form(form, name=NAME):
    return unicodedata.normalize(form, name)


@pytest.mark.parametrize(("on_disk", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_another_unicode_form_are_found_by_all_readers(tmp_path, on_disk, listed):
    path, name = tmp_path / in_form(on_disk), in_form(listed)
    path.parent.mkdir()
    Image.new("RGB", (40, 30)).save(path)
    assert path_below_root(name, tmp_path) == str(path)
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"image": name, "text": "一只猫"}), "utf-8")
    pairs, _ = read_pairs(tmp_path / "pairs.jsonl", check_image=decode_image)
    assert pairs[0]["image"].size == (40, 30)
    coco = {"images": [{"id": 1, "file_name": name, "width": 40, "height": 30}], "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(coco), "utf-8")
    assert read_coco_detection(tmp_path / "coco.json").dataset[0]["image"].size == (40, 30)
    row = {"image_id": "1", "image": name, "split": "train", "captions": {"zh": "一只猫"}}
    (tmp_path / "captions.jsonl").write_text(json.dumps(row), "utf-8")
    [found] = read_captions("lines", tmp_path / "captions.jsonl", image_root=tmp_path)
    assert (tmp_path / found["image"]).is_file()


@pytest.mark.parametrize(("on_disk", "listed"), [("IMG.JPG", "img.jpg"), ("img.jpg", "IMG.JPG"), ("Å.JPG", "Å.jpg")])
def test_name_in_another_case_is_missing_with_a_hint(tmp_path, on_disk, listed):
    (tmp_path / on_disk).touch()
    with pytest.raises(BadRowError, match=f"file missing.*there is '{on_disk}'"):
        path_below_root(listed, tmp_path)
    with pytest.raises(ValueError, match=f"There is '{on_disk}'"):
        decode_image(tmp_path / listed)


def test_message_about_a_missing_file_is_short_and_printable(tmp_path):
    for name in ("x" * 3000, "a\x1b[31m\n.png", "名" * 300 + ".png"):
        with pytest.raises(BadRowError, match="file missing") as caught:
            path_below_root(name, tmp_path)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_pipes_and_folders_are_said_to_be_such(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for name in ("a.png", "."):
        with pytest.raises(BadRowError, match="is a folder, a pipe or a device"):
            path_below_root(name, tmp_path)
