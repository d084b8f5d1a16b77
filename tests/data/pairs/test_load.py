import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from wenlan.data import TooManyBadRowsError, read_pairs
from wenlan.data.pairs.readers import SENTENCE_KEYS


class BadImageError(ValueError):
    def __init__(self, message, cause):
        super().__init__(message)
        self.cause = cause


def check_image(source):
    """Stands in for the package's decoder: decodes with Pillow, names the cause."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
    except OSError as error:
        cause = "truncated" if "truncated" in str(error) else "not an image"
        raise BadImageError(str(error), cause) from error


def png(color):
    return encode_png(Image.new("RGB", (9, 9), color))


def encode_png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


TRUNCATED = encode_png(Image.effect_noise((64, 64), 90))[:3000]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "b.png").write_bytes(png("blue"))
    (tmp_path / "cut.png").write_bytes(TRUNCATED)
    (tmp_path / "note.png").write_text("not an image", "utf-8")
    return tmp_path


def write_lines(folder, *rows):
    """A JSON-lines file of dicts, and of str and bytes as they are."""
    file = folder / "pairs.jsonl"
    lines = [row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else dump(row) for row in rows]
    file.write_bytes(b"\n".join(lines))
    return file


def dump(row):
    return json.dumps(row, ensure_ascii=False).encode()


GOOD = {"image": "a.png", "text": "红色"}


def test_good_rows_come_out_with_image_text_and_line_number(folder):
    pairs, report = read_pairs(write_lines(folder, GOOD, "", {"image": "b.png", "text": "蓝色"}))
    assert pairs["text"][:] == ["红色", "蓝色"]
    assert pairs["row_number"][:] == [1, 3]
    assert pairs[1]["image"].getpixel((0, 0)) == (0, 0, 255)
    assert (report.rows_read, report.rows_kept, report.bad_fraction) == (2, 2, 0.0)
    assert pairs.column_names == ["image", "text", "row_number"]


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("{broken", "broken line"),
        ("[1, 2]", "broken line"),
        ("[" * 100_000, "broken line"),
        ("9" * 5000, "broken line"),
        ({"image": "a.png"}, "missing field"),
        ({"text": "x"}, "missing field"),
        ({"image": None, "text": "x"}, "missing field"),
        ({"image": 7, "text": "x"}, "missing field"),
        ({"image": "a.png", "text": 7}, "text is no string"),
        ({"image": "a.png", "text": " \ufeff\u0000\n"}, "empty text"),
        ({"image": "a.png", "text": []}, "empty text"),
        ({"image": "a.png", "text": "https://example.org/a?b=c"}, "useless text"),
        ({"image": "a.png", "text": "IMG 0001.JPG"}, "useless text"),
        ({"image": "a.png", "text": " Image "}, "useless text"),
        ({"image": "a.png", "text": ["", "\u200b"]}, "empty text"),
        ({"image": "a.png", "text": "\ue000\u0301"}, "empty text"),
        ({"image": "a.png", "text": "a" * 10_001}, "text too long"),
        (b'{"image": "a.png", "text": "\xff\xfe"}', "invalid UTF-8"),
        (b'{"image": "\xff.png", "text": "a"}', "invalid UTF-8"),
        ({"image": "none.png", "text": "x"}, "file missing"),
        ({"image": "", "text": "x"}, "file missing"),
        ({"image": "n" * 5000, "text": "x"}, "file missing"),
        ({"image": "a\u0000.png", "text": "x"}, "file missing"),
        ({"image": "https://example.org/a.png", "text": "x"}, "image is a URL"),
        ({"image": "../outside.png", "text": "x"}, "path leaves image root"),
        ({"image": "/etc/hostname", "text": "x"}, "path leaves image root"),
        ({"image": "cut.png", "text": "x"}, "truncated"),
        ({"image": "note.png", "text": "x"}, "not an image"),
    ],
)
def test_bad_row_is_left_out_and_counted_by_its_cause(folder, row, cause):
    pairs, report = read_pairs(write_lines(folder, GOOD, row), max_bad_fraction=0.5, check_image=check_image)
    assert report.counts == {cause: 1}
    assert len(pairs) == report.rows_kept == 1
    assert "pairs.jsonl, row 2" in report.examples[cause]


def test_without_check_image_a_image_only_has_to_exist(folder):
    pairs, report = read_pairs(write_lines(folder, {"image": "cut.png", "text": "x"}))
    assert len(pairs) == 1
    assert not report.counts


def test_check_image_error_without_a_cause_counts_as_bad_image(folder):
    def refuse_blue(source):
        if "b.png" in source:
            raise ValueError("too blue")

    rows = [GOOD, {"image": "b.png", "text": "x"}]
    _, report = read_pairs(write_lines(folder, *rows), max_bad_fraction=0.5, check_image=refuse_blue)
    assert report.counts == {"bad image": 1}
    assert "too blue" in str(report)


def test_thirty_percent_bad_rows_finish_where_half_may_be_bad(folder):
    file = write_lines(folder, *[GOOD] * 7, *["{"] * 2, {"image": "none.png", "text": "x"})
    pairs, report = read_pairs(file, max_bad_fraction=0.5)
    assert len(pairs) == 7
    assert report.bad_fraction == pytest.approx(0.3)
    assert "kept 7 of 10 rows (30.0% bad)" in str(report)
    assert "left out 2 x broken line" in str(report)


def test_thirty_percent_bad_rows_raise_by_default_with_the_counts(folder):
    with pytest.raises(TooManyBadRowsError, match="left out 3 x broken line"):
        read_pairs(write_lines(folder, *[GOOD] * 7, *["{"] * 3))


@pytest.mark.parametrize("max_bad_fraction", [0.1, 1.0])
def test_only_bad_rows_raise_with_the_counts(folder, max_bad_fraction):
    with pytest.raises(TooManyBadRowsError, match="left out 4 x broken line"):
        read_pairs(write_lines(folder, *["{"] * 4), max_bad_fraction=max_bad_fraction)


def test_file_without_rows_raises(folder):
    with pytest.raises(TooManyBadRowsError, match="no rows"):
        read_pairs(write_lines(folder, "", " "))


def test_bad_row_raises_at_once_if_asked(folder):
    with pytest.raises(ValueError, match=r"pairs\.jsonl, row 2: file missing: .*none\.png.*image_root"):
        read_pairs(write_lines(folder, GOOD, {"image": "none.png", "text": "x"}, "{"), on_bad_row="raise")


def test_max_rows_bounds_what_is_read(folder):
    pairs, report = read_pairs(write_lines(folder, GOOD, GOOD, "{"), max_rows=2)
    assert (len(pairs), report.rows_read) == (2, 2)


def test_text_is_cleaned_and_a_long_one_is_cut_and_counted(folder):
    row = {"image": "a.png", "text": "\ufeff  a\tred\u0007\nsquare "}
    pairs, report = read_pairs(write_lines(folder, row), max_text_length=8)
    assert pairs["text"][:] == ["a red sq"]
    assert report.repairs == {"text cut": 1}
    assert report.bad_fraction == 0


def test_list_of_captions_keeps_the_good_ones(folder):
    rows = [{"image": "a.png", "text": ["red", "", "a.jpg", "rot"]}, GOOD]
    pairs, report = read_pairs(write_lines(folder, *rows))
    assert pairs["text"][:] == [["red", "rot"], ["红色"]]
    assert report.repairs == {"caption dropped": 2}


@pytest.mark.parametrize(
    "box",
    [
        [5, 1, 2, 4],
        [1, 1, 1, 4],
        [1, 4, 2, 1],
        [float("nan"), 0, 2, 2],
        [0, 0, float("inf"), 2],
        [0, 0, 2],
        "box",
        [0, 0, 10**400, 2],
    ],
)
def test_impossible_box_is_dropped_and_counted(folder, box):
    pairs, report = read_pairs(write_lines(folder, {**GOOD, "boxes": [[0, 0, 2, 3], box]}, GOOD), max_bad_fraction=0.5)
    assert pairs["boxes"][:] == [[[0, 0, 2, 3]], None]
    assert report.repairs == {"box dropped": 1}


@pytest.mark.parametrize(
    ("boxes", "cause"),
    [
        ([[0.1, 0.1, 0.4, 0.5]], "box within a pixel"),  # fractions
        ([[0, 0, 1, 1], [0.2, 0, 1, 0.5]], "box within a pixel"),
        ([[30, 20, 5, 9], [25, 15, 8, 3]], "box dropped"),  # a corner and a size
        ([[0, 0, 4000, 3000]], "box outside"),  # of a larger copy of the image
    ],
)
def test_boxes_in_another_unit_or_form_are_not_passed_on(folder, boxes, cause):
    rows = [{**GOOD, "boxes": boxes}, GOOD]
    checked = {"check_image": Image.open, "max_bad_fraction": 1.0}
    with pytest.raises(TooManyBadRowsError, match="no box can be used"):
        read_pairs(write_lines(folder, *rows), check_image=Image.open)
    with pytest.raises(TooManyBadRowsError, match=cause):
        read_pairs(write_lines(folder, rows[0]), **checked)
    pairs, report = read_pairs(write_lines(folder, *rows), **checked)
    assert len(pairs) == 1
    assert report.counts == {"no box can be used": 1}
    assert report.repairs == {cause: len(boxes)}


def test_boxes_left_out_are_compared_with_the_fraction(folder):
    good = [[0, 0, 2, number] for number in range(3, 12)]
    file = write_lines(folder, {**GOOD, "boxes": [*good, [3, 3, 2, 2], [3, 3, 2, 1]]})
    with pytest.raises(TooManyBadRowsError, match="2 of 11 boxes cannot be used, more than 10%"):
        read_pairs(file)
    assert read_pairs(file, max_bad_fraction=0.2)[0]["boxes"][:] == [good]


@pytest.mark.parametrize("key", SENTENCE_KEYS)
def test_brivl_lines_fall_back_in_the_order_of_the_keys(folder, key):
    later = SENTENCE_KEYS[SENTENCE_KEYS.index(key) :]
    row = {"image_id": "./a.png", "sentences": [[k, k] for k in reversed(later)], "bbox": [[0, 0, 4, 5]]}
    pairs, _ = read_pairs(write_lines(folder, row))
    assert pairs["text"][:] == [key]
    assert pairs["boxes"][:] == [[[0, 0, 4, 5]]]


@pytest.mark.parametrize(("sentences", "text"), [([["0", "红"], ["1", "蓝"]], "红"), (["红", "蓝"], ["红", "蓝"])])
def test_brivl_lines_without_known_keys(folder, sentences, text):
    pairs, _ = read_pairs(write_lines(folder, {"image_id": "a.png", "sentences": sentences, "bbox": []}))
    assert pairs["text"][:] == [text]


def test_csv_with_byte_order_mark_and_quoted_separators(folder):
    (folder / "pairs.csv").write_bytes('\ufeffimage,text\na.png,"red, ""really"""\nb.png,蓝色\n'.encode())
    pairs, _ = read_pairs(folder / "pairs.csv")
    assert pairs["text"][:] == ['red, "really"', "蓝色"]


def test_csv_rows_that_are_short_long_or_of_another_encoding_are_counted(folder):
    lines = "image,text\na.png,red\na.png\na.png,red, really\na.png,grün\nb.png,blue\n"
    (folder / "pairs.csv").write_bytes(lines.encode("latin-1"))
    pairs, report = read_pairs(folder / "pairs.csv", max_bad_fraction=0.9)
    assert report.counts == {"missing field": 1, "broken line": 1, "invalid UTF-8": 1}
    assert pairs["row_number"][:] == [2, 6]


def test_every_line_that_an_open_quote_swallows_is_counted(folder):
    (folder / "pairs.csv").write_text('image,text\na.png,red\nb.png,"blue\n' + "a.png,red\n" * 5, "utf-8")
    pairs, report = read_pairs(folder / "pairs.csv", max_bad_fraction=0.9)
    assert report.counts == {"broken line": 6}
    assert len(pairs) == 1


def test_tsv_takes_quotes_as_they_are(folder):
    (folder / "pairs.tsv").write_text('image\ttext\na.png\t"red\nb.png\tblue"\n', "utf-8")
    pairs, _ = read_pairs(folder / "pairs.tsv")
    assert pairs["text"][:] == ['"red', 'blue"']


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "red"}'),
        ("metadata.csv", "file_name,text\na.png,red"),
        ("captions.tsv", "image\ttext\na.png\tred"),
    ],
)
def test_image_folder_is_read_by_the_file_it_holds(folder, name, content):
    (folder / name).write_text(content, "utf-8")
    pairs, _ = read_pairs(folder)
    assert pairs[0]["text"] == "red"
    assert pairs[0]["image"].size == (9, 9)


def test_image_root_and_column_names_are_taken(folder):
    (folder / "lists").mkdir()
    (folder / "lists" / "pairs.csv").write_text("bild,legende\na.png,rot\n", "utf-8")
    pairs, _ = read_pairs(folder / "lists" / "pairs.csv", image_root=folder, image_column="bild", text_column="legende")
    assert pairs["text"][:] == ["rot"]


def test_absolute_path_and_link_below_the_image_root_are_taken(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.png").write_bytes(png("green"))
    (folder / "link").symlink_to(elsewhere)
    rows = [{"image": str(folder / "a.png"), "text": "red"}, {"image": "link/c.png", "text": "green"}]
    assert len(read_pairs(write_lines(folder, *rows))[0]) == 2


@pytest.mark.parametrize("kind", ["bytes", "struct", "path in struct", "path"])
def test_parquet_holds_images_or_paths(folder, kind):
    image = {
        "bytes": png("red"),
        "struct": {"bytes": png("red"), "path": "unused.png"},
        "path in struct": {"bytes": None, "path": "a.png"},
        "path": "a.png",
    }[kind]
    pq.write_table(pa.table({"image": [image] * 70, "text": ["red"] * 70}), folder / "pairs.parquet")
    pairs, _ = read_pairs(folder / "pairs.parquet", check_image=check_image)
    assert pairs["row_number"][:] == list(range(1, 71))
    assert pairs[69]["image"].getpixel((0, 0)) == (255, 0, 0)


def test_damaged_bytes_in_parquet_are_counted(folder):
    images = [png("red"), b"", b"nothing", TRUNCATED, None]
    pq.write_table(pa.table({"image": images, "text": ["x"] * 5}), folder / "pairs.parquet")
    _, report = read_pairs(folder / "pairs.parquet", check_image=check_image, max_bad_fraction=0.9)
    assert report.counts == {"empty file": 1, "not an image": 1, "truncated": 1, "missing field": 1}


def test_invalid_utf8_in_parquet_costs_its_rows_only(folder):
    captions = [b"red", b"\xff\xfe", "蓝色".encode(), b"gr\xfcn"]
    texts = pa.array(captions, pa.binary()).view(pa.string())  # Arrow writes it unchecked
    pq.write_table(pa.table({"image": ["a.png"] * 4, "text": texts}), folder / "pairs.parquet")
    pairs, report = read_pairs(folder / "pairs.parquet", max_bad_fraction=0.5)
    assert pairs["text"][:] == ["red", "蓝色"]
    assert pairs["row_number"][:] == [1, 3]
    assert report.counts == {"invalid UTF-8": 2}


def test_folder_of_parquet_files_is_read_in_their_order_and_a_damaged_one_is_counted(folder):
    for name, captions in {"b": ["three"], "a": ["one", "two"], "c": ["lost"]}.items():
        pq.write_table(pa.table({"image": ["a.png"] * len(captions), "text": captions}), folder / f"{name}.parquet")
    (folder / "c.parquet").write_bytes((folder / "c.parquet").read_bytes()[:50])
    pairs, report = read_pairs(folder, max_bad_fraction=0.5)
    assert pairs["text"][:] == ["one", "two", "three"]
    assert pairs["row_number"][:] == [1, 2, 1]
    assert report.counts == {"broken shard": 1}
    assert f"{folder}, row c.parquet/1: broken shard" in report.examples["broken shard"]
    pq.write_table(pa.table({"image": ["a.png"] * 40, "text": ["red"] * 40}), folder / "a.parquet")
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:50])
    with pytest.raises(TooManyBadRowsError, match="2 of 3 shards are broken or empty"):
        read_pairs(folder)  # of 42 rows, as far as one can see


def write_conceptual_captions(folder, *lines):
    (folder / "train.tsv").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder / "train.tsv"


@pytest.mark.parametrize("order", ["{caption}\t{url}", "{url}\t{caption}"])
@pytest.mark.parametrize("name", ["{}.png", "{:07d}.png"])
def test_conceptual_captions_find_the_image_by_the_number_of_its_line(folder, order, name):
    images = folder / "images"
    images.mkdir()
    for number in (1, 2, 11):
        (images / name.format(number)).write_bytes(png("red"))
    lines = [order.format(caption=f"text {number}", url=f"http://x.org/{number}.jpg") for number in range(1, 12)]
    pairs, report = read_pairs(write_conceptual_captions(folder, *lines), image_root=images, max_bad_fraction=0.8)
    assert pairs["text"][:] == ["text 1", "text 2", "text 11"]
    assert pairs["row_number"][:] == [1, 2, 11]
    assert report.counts == {"file missing": 8}


def test_conceptual_captions_find_the_image_in_the_column_that_is_given(folder):
    file = write_conceptual_captions(
        folder, *["red\thttp://x/1\ta.png", "blue\thttp://x/2\tb.png", "no url\tat all\tx"]
    )
    pairs, report = read_pairs(file, image_column="3", max_bad_fraction=0.5)
    assert pairs["text"][:] == ["red", "blue"]
    assert pairs[1]["image"].getpixel((0, 0)) == (0, 0, 255)
    assert report.counts == {"broken line": 1}


def test_conceptual_captions_with_images_counted_from_zero_are_refused(folder):
    (folder / "0.png").write_bytes(png("red"))
    with pytest.raises(ValueError, match="counted from 0, but lines from 1"):
        read_pairs(write_conceptual_captions(folder, "red\thttp://x.org/1"))


def test_conceptual_captions_without_numbered_images_are_refused(folder):
    with pytest.raises(FileNotFoundError, match="named by the number of its line"):
        read_pairs(write_conceptual_captions(folder, "red\thttp://x.org/1"))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_missing_column_names_the_nearest_one(folder, suffix):
    file = folder / f"pairs.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"image": ["a.png"], "texts": ["red"]}), file)
    elif suffix == "jsonl":
        file.write_text('{broken\n\n{"image": "a.png", "texts": "red"}\n', "utf-8")
    else:
        file.write_text("image,texts\na.png,red\n".replace(",", "\t" if suffix == "tsv" else ","), "utf-8")
    with pytest.raises(ValueError, match=r"no column 'text'.*Did you mean texts\?"):
        read_pairs(file)


def test_unknown_sources_are_refused_with_what_to_give(folder):
    (folder / "pairs.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of \.jsonl, \.csv"):
        read_pairs(folder / "pairs.xlsx")
    with pytest.raises(FileNotFoundError, match=r"metadata\.jsonl"):
        read_pairs(folder)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_pairs(folder / "none.jsonl")
    with pytest.raises(ValueError, match="on_bad_row"):
        read_pairs(write_lines(folder, GOOD), on_bad_row="warn")


def test_five_percent_bad_rows_of_every_kind_finish_with_exact_counts(folder):
    bad = {
        "broken line": ["{", "[1]"],
        "missing field": [{"image": "a.png"}, {"text": "x"}],
        "text is no string": [{"image": "a.png", "text": 7}],
        "empty text": [{"image": "a.png", "text": " \ufeff"}],
        "useless text": [{"image": "a.png", "text": "image"}, {"image": "a.png", "text": "www.example.org"}],
        "invalid UTF-8": [b'{"image": "a.png", "text": "\xff"}'],
        "file missing": [{"image": "none.png", "text": "x"}],
        "image is a URL": [{"image": "https://example.org/a.png", "text": "x"}],
        "path leaves image root": [{"image": "../a.png", "text": "x"}],
        "truncated": [{"image": "cut.png", "text": "x"}],
        "not an image": [{"image": "note.png", "text": "x"}],
    }
    rows = [row for rows in bad.values() for row in rows]
    rows = random.Random(0).sample(rows + [GOOD] * 19 * len(rows), 20 * len(rows))
    pairs, report = read_pairs(write_lines(folder, *rows), check_image=check_image)
    assert report.counts == {cause: len(rows) for cause, rows in bad.items()}
    assert report.bad_fraction == pytest.approx(0.05)
    assert len(pairs) == 19 * len(rows) // 20


def test_bad_rows_are_logged_once_with_an_example(folder, caplog):
    read_pairs(write_lines(folder, GOOD, "{", "{"), max_bad_fraction=0.9)
    assert len(caplog.records) == 1
    assert "row 2" in caplog.text


@pytest.mark.parametrize("split", [None, "train"])
def test_images_of_a_folder_that_no_row_names_are_counted(folder, split):
    (folder / "more").mkdir()
    for name in ("more/c.png", "more/d.jpg", "album.txt", "e"):
        (folder / name).write_bytes(b"words" if name.endswith("txt") else png("green"))
    (folder / "link.png").symlink_to("a.png")  # another name of an image that a row has
    rows = [
        {"image": "a.png", "text": "红", "split": "train"},
        {"image": "b.png", "text": "", "split": "train"},  # left out, yet named
        {"image": "more/../note.png", "text": "字", "split": "test"},
        {"image": "none.png", "text": "无", "split": "train"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    _, report = read_pairs(folder, split=split, max_bad_fraction=1)
    assert report.not_looked_at == {"images that no row names": 4}  # cut.png, c.png, d.jpg and e
    assert "not looked at: 4 files or folders (4 images that no row names)" in str(report)
    assert report.to_dict()["not_looked_at"] == report.not_looked_at
    for options in ({"max_rows": 2}, {"image_root": folder}):
        assert not read_pairs(folder, max_bad_fraction=1, **options)[1].not_looked_at
    assert not read_pairs(folder / "metadata.jsonl", max_bad_fraction=1)[1].not_looked_at
