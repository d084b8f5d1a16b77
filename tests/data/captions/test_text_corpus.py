import itertools
import json

import pytest
from wenlan.data import LANGUAGES
from wenlan.data.captions.text_corpus import CaptionedImage, CaptionSource
from wenlan.data.emoji_scenes.dataset import generate_scenes
from wenlan.data.rows.report import TooManyBadRowsError

ROWS = [{"image": f"{index}.png", "text": f"a dog number {index}"} for index in range(7)]


def write(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "pairs.jsonl", ROWS)


def test_pieces_hold_the_rows_in_order_in_every_pass(file):
    source = CaptionSource(file, "en", 3)
    for _ in range(2):
        pieces = list(source)
        assert [len(piece) for piece in pieces] == [3, 3, 1]
        assert [row.image for piece in pieces for row in piece] == [row["image"] for row in ROWS]
    assert pieces[0][0] == CaptionedImage("0.png", ("a dog number 0",), False)
    assert (source.num_captions, source.report.rows_kept, len(source.digests)) == (7, 7, 3)


def test_digest_of_a_piece_changes_with_its_rows_only(file, tmp_path):
    changed = [*ROWS[:4], {"image": "4.png", "text": "another dog"}, *ROWS[5:]]
    one, other = CaptionSource(file, "en", 3), CaptionSource(write(tmp_path / "b.jsonl", changed), "en", 3)
    assert [a == b for a, b in zip(one.digests, other.digests, strict=True)] == [True, False, True]
    assert one.sha256 != other.sha256
    assert one.sha256 == CaptionSource(file, "en", 3).sha256


def test_rows_that_cannot_be_used_are_counted_once_by_their_cause(tmp_path):
    bad = [
        "{broken\n",
        {"image": "a.png"},
        {"image": "b.png", "text": ""},
        {"image": "c.png", "text": "http://example.org/c.png"},
        {"image": "d.png", "text": "一只棕色的狗"},
        {"image": 5, "text": "a dog"},
        {"image": "e.png", "text": []},
        {"image": "e\ud800.png", "text": "a dog"},
    ]
    source = CaptionSource(write(tmp_path / "pairs.jsonl", [*ROWS, *bad]), "en", 3, max_bad_fraction=0.6)
    list(source)
    assert (source.report.rows_read, source.report.rows_kept) == (15, 7)
    assert source.report.counts == {
        "broken line": 1,
        "missing field": 1,
        "empty text": 2,
        "useless text": 1,
        "another script": 1,
        "image has no name": 1,
        "invalid UTF-8": 1,
    }


def test_bad_caption_of_a_list_costs_itself(tmp_path):
    rows = [{"image": "0.png", "text": ["a dog", "", "two  dogs"]}]
    source = CaptionSource(write(tmp_path / "pairs.jsonl", rows), "en", 3)
    assert list(source) == [[CaptionedImage("0.png", ("a dog", "two dogs"), True)]]
    assert source.report.repairs == {"caption dropped": 1}


def test_captions_in_another_language_than_said_are_an_error(file):
    with pytest.raises(TooManyBadRowsError, match=r"(?s)More than 10%.*7 x another script.*give the language"):
        CaptionSource(file, "zh", 3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_caption_of_emoji_scenes_is_in_another_script(tmp_path, language):
    scenes = itertools.islice(generate_scenes("pretrain", 60), 60)
    rows = [{"image": str(scene["image_id"]), "text": scene["captions"][language]} for scene in scenes]
    source = CaptionSource(write(tmp_path / "pairs.jsonl", rows), language, 100)
    assert (source.report.counts, source.report.repairs) == ({}, {})


def test_file_without_rows_is_an_error(tmp_path):
    with pytest.raises(TooManyBadRowsError, match="or all"):
        CaptionSource(write(tmp_path / "pairs.jsonl", []), "en", 3)


def test_other_columns_and_tables_are_read(tmp_path):
    (tmp_path / "pairs.csv").write_text("id,caption\n17,a dog\n18,a cat\n", "utf-8")
    source = CaptionSource(tmp_path / "pairs.csv", "en", 3, ("id", "caption"))
    assert [(row.image, row.captions) for row in next(iter(source))] == [("17", ("a dog",)), ("18", ("a cat",))]


def test_image_bytes_with_a_path_are_known_by_the_path(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": b"x", "path": "a.png"}, {"bytes": b"y", "path": None}]
    pq.write_table(pa.table({"image": images, "text": ["a dog", "a cat"]}), tmp_path / "pairs.parquet")
    source = CaptionSource(tmp_path / "pairs.parquet", "en", 3, max_bad_fraction=0.5)
    assert [row.image for row in next(iter(source))] == ["a.png"]
    assert source.report.counts == {"image has no name": 1}


@pytest.mark.parametrize(
    ("arguments", "message"), [(("xx", 3), "'xx' is none of the languages"), (("en", 0), "has 0 rows")]
)
def test_arguments_out_of_range_are_named(file, arguments, message):
    with pytest.raises(ValueError, match=message):
        CaptionSource(file, *arguments)
