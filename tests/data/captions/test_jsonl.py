import json

import pytest
from wenlan.data import TooManyBadRowsError, read_captions, write_captions


def write(folder, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    return folder / "rows.jsonl"


GOOD = {"image_id": "coco:1", "image": "a/1.jpg", "split": "test", "captions": {"en": ["a dog"], "zh": ["一只狗"]}}


def test_rows_come_out_as_they_were_written(tmp_path):
    (row,) = read_captions("lines", write(tmp_path, GOOD))
    assert row == GOOD | {"source": "lines"}


def test_row_may_lack_image_split_and_list(tmp_path):
    rows = list(read_captions("lines", write(tmp_path, {"image_id": 7, "captions": {"en": "a dog"}})))
    assert rows[0]["captions"] == {"en": ["a dog"]}
    assert (rows[0]["image_id"], rows[0]["image"], rows[0]["split"]) == ("7", "7", "train")


@pytest.mark.parametrize(
    ("cause", "row"),
    [
        ("broken line", "{"),
        ("broken line", "[]"),
        ("missing field", {"image": "a.jpg", "text": "a dog"}),
        ("missing field", {"image": "a.jpg", "captions": ["a dog"]}),
        ("image has no name", {"captions": {"en": "a dog"}}),
        ("image has no name", GOOD | {"image": None}),
        ("image has no name", GOOD | {"image_id": [1]}),
        ("unknown language", GOOD | {"captions": {"english": ["a dog"]}}),
        ("empty text", GOOD | {"captions": {}}),
        ("empty text", GOOD | {"captions": {"en": [" "]}}),
        ("text is no string", GOOD | {"captions": {"en": [3]}}),
        ("bad split", GOOD | {"split": "../../etc"}),
        ("bad split", GOOD | {"split": None}),
        ("invalid UTF-8", GOOD | {"image": "\udcff.jpg"}),
    ],
)
def test_bad_row_is_left_out_and_counted(tmp_path, cause, row):
    row = json.dumps(row) if isinstance(row, dict) else row
    data = read_captions("lines", write(tmp_path, GOOD, row), max_bad_fraction=0.5)
    assert len(list(data)) == 1
    assert data.report.counts == {cause: 1}
    assert "rows.jsonl, row 2" in data.report.examples[cause]
    with pytest.raises(ValueError, match=f"row 2: {cause}"):
        list(read_captions("lines", write(tmp_path, GOOD, row), on_bad_row="raise"))


def test_unknown_language_beside_a_known_one_is_dropped_and_counted(tmp_path):
    data = read_captions("lines", write(tmp_path, GOOD | {"captions": {"xx": ["?"], "en": ["a dog"]}}))
    assert [row["captions"] for row in data] == [{"en": ["a dog"]}]
    assert data.report.repairs == {"unknown language": 1}


def test_each_pass_counts_anew(tmp_path):
    data = read_captions("lines", write(tmp_path, GOOD, "{"), max_bad_fraction=0.5)
    assert list(data) == list(data)
    assert (data.report.rows_read, data.report.rows_kept) == (2, 1)


def test_thirty_percent_bad_rows_finish_where_half_may_be_bad(tmp_path):
    file = write(tmp_path, *[GOOD] * 7, *["{"] * 3)
    assert len(list(read_captions("lines", file, max_bad_fraction=0.5))) == 7
    with pytest.raises(TooManyBadRowsError, match="left out 3 x broken line"):
        list(read_captions("lines", file))


def test_max_rows_bounds_what_is_read(tmp_path):
    assert len(list(read_captions("lines", write(tmp_path, GOOD, GOOD, "{"), max_rows=2))) == 2


def test_written_folder_is_read_with_all_languages_of_a_image(tmp_path):
    rows = list(
        read_captions("lines", write(tmp_path, GOOD, GOOD | {"image": "b.jpg", "image_id": "coco:2", "split": "val"}))
    )
    write_captions(rows, tmp_path / "out")
    read = list(read_captions("folder", tmp_path / "out"))
    assert read == [row | {"source": "folder"} for row in rows]
    (test,) = read_captions("folder", tmp_path / "out" / "test")
    assert test == GOOD | {"source": "folder"}


def test_folder_of_captions_without_ids_has_paths_for_them(tmp_path):
    (tmp_path / "captions_en.jsonl").write_text('{"image": "images/1.png", "text": "a dog"}\n{"text": "x"}\n{', "utf-8")
    data = read_captions("folder", tmp_path, max_bad_fraction=0.9)
    assert [row["image_id"] for row in data] == ["images/1.png"]
    assert data.report.counts == {"missing field": 1, "broken line": 1}
    with pytest.raises(FileNotFoundError, match=r"no captions_LANGUAGE\.jsonl"):
        list(read_captions("folder", tmp_path / "images"))


@pytest.mark.parametrize("order", ["{caption}\t{url}", "{url}\t{caption}"])
def test_conceptual_captions_in_both_orders_count_dead_links(tmp_path, order):
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 4):
        (images / f"{number:06d}.jpg").write_bytes(b"x")
    lines = [order.format(caption=f"text {n}", url=f"http://x.org/{n}.jpg") for n in range(1, 6)]
    file = tmp_path / "Train_GCC.tsv"
    file.write_text("\n".join([*lines, "no url\tat all"]), "utf-8")
    data = read_captions("conceptual", file, image_root=images)
    rows = list(data)
    assert [(row["image"], row["captions"]) for row in rows] == [
        ("000001.jpg", {"en": ["text 1"]}),
        ("000004.jpg", {"en": ["text 4"]}),
    ]
    assert {row["split"] for row in rows} == {"train"}
    assert data.report.counts == {"file missing": 3, "broken line": 1}


def test_conceptual_captions_take_paths_from_a_column_and_the_split_from_the_name(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "Validation_GCC.tsv").write_text("red\thttp://x/1\ta.png\nblue\thttp://x/2\tb.png\n", "utf-8")
    (row,) = read_captions("conceptual", tmp_path / "Validation_GCC.tsv", image_column="3", language="de")
    assert (row["image"], row["split"], row["captions"]) == ("a.png", "val", {"de": ["red"]})


def test_lists_without_any_image_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_text("red\thttp://x/1\na\thttp://x/2\n", "utf-8")
    with pytest.raises(FileNotFoundError, match="named by the number of its line"):
        list(read_captions("conceptual", tmp_path / "a.tsv"))
    (tmp_path / "9.jpg").write_bytes(b"x")
    with pytest.raises(TooManyBadRowsError, match="left out 2 x file missing"):
        list(read_captions("conceptual", tmp_path / "a.tsv"))


def test_wrong_kinds_options_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no reader 'flickr', only multi30k, coco, stair"):
        read_captions("flickr", tmp_path)
    with pytest.raises(ValueError, match="coco-cn has no option split_file; its options: translated"):
        read_captions("coco-cn", tmp_path, split_file=tmp_path)
    with pytest.raises(ValueError, match="lines has no option task; its options: none"):
        read_captions("lines", tmp_path, task=1)
    with pytest.raises(ValueError, match="no language 'jp', only zh"):
        read_captions("coco", tmp_path, language="jp")
    for column in ("0", "path", "-1"):
        with pytest.raises(ValueError, match=f"image_column is '{column}'; give the number of a column, from 1"):
            read_captions("conceptual", tmp_path / "a.tsv", image_column=column)
    with pytest.raises(ValueError, match="on_bad_row is 'stop'"):
        read_captions("lines", tmp_path, on_bad_row="stop")
    with pytest.raises(FileNotFoundError, match="no file"):
        list(read_captions("lines", tmp_path / "none.jsonl"))
    (tmp_path / "a.tsv.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"is packed; unpack it and give the \.tsv"):
        list(read_captions("conceptual", tmp_path / "a.tsv.gz"))
    (tmp_path / "rows.txt").write_text("{}", "utf-8")
    with pytest.raises(ValueError, match=r"is no \.jsonl"):
        list(read_captions("lines", tmp_path / "rows.txt"))
