import json
import os
import unicodedata

import pytest
from PIL import Image
from wenlan.data import list_images
from wenlan.data.files.image_listing import image_suffixes
from wenlan.processing import decode_image


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


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_linked_folders_are_entered_once_and_loops_end(tmp_path, caplog):
    photos, store = tmp_path / "photos", tmp_path / "store"
    touch(photos, "a.png", "real/d.png")
    touch(store, "b.png", "inner/c.png")
    (photos / "album").symlink_to(store)
    (photos / "again").symlink_to("real")
    (photos / "real" / "up").symlink_to("..")
    (store / "inner" / "round").symlink_to(photos / "album")
    (photos / "e.png").symlink_to(store / "b.png")
    (photos / "broken.png").symlink_to("nowhere")
    (photos / "self.png").symlink_to("self.png")
    expected = ["a.png", "album/b.png", "album/inner/c.png", "broken.png", "e.png", "real/d.png", "self.png"]
    assert ids(photos) == expected
    assert "3 folder listed before" in caplog.text
    assert ids(photos / "album") == ["b.png", "inner/c.png"]


def test_folders_linked_into_each_other_are_listed_once(tmp_path):
    for number in range(12):
        touch(tmp_path, f"{number}/{number}.png")
        for other in range(12):
            (tmp_path / str(number) / f"to {other}").symlink_to(tmp_path / str(other))
    assert len(ids(tmp_path)) == 12


def test_every_suffix_of_the_decoder_is_an_image(tmp_path):
    image = Image.new("RGB", (40, 30), "red")
    for suffix in ("jfif", "jpe", "avif", "jp2", "bmp", "ppm", "tga", "ico", "dds", "sgi", "pcx", "qoi", "JPG", "apng"):
        image.save(tmp_path / f"a.{suffix}", format="JPEG" if suffix == "JPG" else None)
    for suffix in ("mpo", "webp", "gif", "tif"):
        image.save(tmp_path / f"b.{suffix}")
    listed = list_images(tmp_path)
    assert len(listed) == len(list(tmp_path.iterdir()))
    assert {decode_image(path).mode for _, path in listed} == {"RGB"}
    assert image_suffixes().isdisjoint({".h5", ".mpg", ".eps", ".ps", ".pdf", ".txt", ".wmf"})


def test_content_tells_images_under_other_names(tmp_path, caplog):
    for image_format in ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "JPEG2000"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{image_format.lower()}", image_format)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{image_format.lower()}.jpg_large", image_format)
    assert len(ids(tmp_path)) == 12
    assert caplog.text == ""


def test_what_is_not_looked_at_is_counted_by_kind(tmp_path, caplog):
    touch(
        tmp_path, "a.png", "b.heic", "c.HEIC", "d.txt", ".e.png", "._a.png", ".cache/x.png", "README", "f.mp4", "g.h5"
    )
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert ids(tmp_path) == ["a.png", "pipe.jpg"]
    for kind in ("10 files or folders", "2 .heic", "3 hidden", "2 without suffix", "and 1 more kinds"):
        assert kind in caplog.text


def test_folder_without_images_says_what_it_holds(tmp_path):
    touch(tmp_path, *(f"{number}.heic" for number in range(3)), "a\x1b[31m.b\nc")
    with pytest.raises(ValueError, match=r"lists no image.*4 files.*3 \.heic, 1 of another suffix") as caught:
        list_images(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["が.png", "é/ü.png", "한국어 사진.jpg", "Ångström/100%.png"])
def test_listed_names_are_found_in_either_unicode_form(tmp_path, on_disk, name):
    touch(tmp_path, unicodedata.normalize(on_disk, name))
    for form in ("NFC", "NFD"):
        (tmp_path / "list.jsonl").write_text(json.dumps({"image": unicodedata.normalize(form, name)}), "utf-8")
        (tmp_path / "list.txt").write_text(unicodedata.normalize(form, name) + "\n", "utf-8")
        for file in ("list.jsonl", "list.txt"):
            [(key, path)] = list_images(tmp_path / file)
            assert key == unicodedata.normalize(form, name)
            assert path.is_file()


@pytest.mark.parametrize("name", ["-rf.png", "100%.png", " a.png ", "猫\u2028狗.png", "a\x85b.png", "x" * 200 + ".png"])
def test_odd_names_are_listed_from_folders_and_files(tmp_path, name):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / name, "PNG")
    assert ids(tmp_path / "images") == [name]
    (tmp_path / "images" / "list.txt").write_text(f"{name}\r\n", "utf-8", newline="")
    assert list_images(tmp_path / "images" / "list.txt") == [(name, tmp_path / "images" / name)]


@pytest.mark.parametrize("name", ["list.txt", "list.jsonl"])
def test_a_line_that_is_no_path_is_refused_in_a_few_words(tmp_path, name):
    line = "猫" * 1_000_000
    (tmp_path / name).write_text(f"a.png\n{line}\n" if name == "list.txt" else json.dumps({"image": line}), "utf-8")
    with pytest.raises(ValueError, match=r"list\.\w+ has a path of 1,000,000 characters") as refused:
        list_images(tmp_path / name)
    assert len(str(refused.value)) < 400
