import json
import os

import pytest
from wenlan.data import list_images


def ids(source, **options):
    return [name for name, _ in list_images(source, **options)]


def test_folder_is_searched_for_images_at_any_depth(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/notes.txt", "z.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == [(name, tmp_path / name) for name in ("a/c.PNG", "b.jpg", "z.webp")]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("list.txt", "b.png\n\n  a.png \n", {"a.png": "a.png", "b.png": "b.png"}),
        (
            "list.jsonl",
            '{"image": "x/a.png"}\n{"file_name": "b.png", "image_id": 7}\n{"path": "c.png", "id": "c"}\n',
            {"7": "b.png", "c": "c.png", "x/a.png": "x/a.png"},
        ),
        (
            "coco.json",
            json.dumps({"images": [{"id": 9, "file_name": "a.png"}], "annotations": []}),
            {"9": "a.png"},
        ),
        ("list.json", '[{"image": "a.png"}]', {"a.png": "a.png"}),
    ],
)
def test_list_gives_ids_and_paths_below_its_folder_or_the_root(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text, "utf-8-sig")
    assert list_images(tmp_path / name) == [(key, tmp_path / path) for key, path in expected.items()]
    assert list_images(tmp_path / name, image_root="/r")[0][1].is_relative_to("/r")


def test_repeated_entry_counts_once(tmp_path, caplog):
    (tmp_path / "list.txt").write_text("a.png\nb.png\na.png\n", "utf-8")
    assert ids(tmp_path / "list.txt") == ["a.png", "b.png"]
    assert "1 repeated entries" in caplog.text


def test_two_images_with_one_id_are_an_error(tmp_path):
    (tmp_path / "list.jsonl").write_text('{"image": "a.png", "id": 1}\n{"image": "b.png", "id": 1}\n', "utf-8")
    with pytest.raises(ValueError, match=r"two images have the id '1': .*a.png and .*b.png"):
        list_images(tmp_path / "list.jsonl")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("list.txt", b"\xff\xfe", "not UTF-8"),
        ("list.txt", b"\n", "lists no image"),
        ("list.jsonl", b'{"image": "a.png"}\n{"image"\n', "line 2"),
        ("list.jsonl", b'{"url": "a.png"}\n', "line 1 has none of image, file_name, path"),
        ("list.json", b'{"annotations": []}', "no list `images`"),
        ("list.json", b"{", "no JSON"),
    ],
)
def test_list_that_cannot_be_read_says_where(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        list_images(tmp_path / name)


def test_name_of_any_bytes_becomes_an_id_that_is_text(tmp_path):
    path = os.fsdecode(b"\xe4.png")
    (tmp_path / path).touch()
    assert list_images(tmp_path) == [("\\udce4.png", tmp_path / path)]


def test_missing_source_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no"):
        list_images(tmp_path / "none")
