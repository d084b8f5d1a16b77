"""Files of pairs as other programs and other people write them."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from wenlan.data import read_pairs

CSV = "image,text\n0.png,一只猫\n1.png,红色的车\n2.png,雪山和湖\n3.png,草地上的狗\n"
TEXTS = ["一只猫", "红色的车", "雪山和湖", "草地上的狗"]
JSON_LINES = "".join(
    json.dumps({"image": f"{number}.png", "text": text}, ensure_ascii=False) + "\n" for number, text in enumerate(TEXTS)
)


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{number}.png")
    return tmp_path


def read(folder, name, content, **options):
    (folder / name).write_bytes(content)
    pairs, report = read_pairs(folder / name, **options)
    assert not report.counts
    return pairs["text"][:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("utf-8.csv", CSV.encode()),
        ("utf-8-sig.csv", CSV.encode("utf-8-sig")),
        ("excel-unicode.csv", CSV.encode("utf-16")),
        ("utf-16-be.csv", b"\xfe\xff" + CSV.encode("utf-16-be")),
        ("utf-32.csv", CSV.encode("utf-32")),
        ("no-mark.csv", CSV.encode("utf-16-le")),
        ("tabs-of-excel.csv", CSV.replace(",", "\t").encode("utf-16")),
        ("utf-16.jsonl", JSON_LINES.encode("utf-16")),
        ("mark.jsonl", JSON_LINES.encode("utf-8-sig")),
        ("packed.jsonl.gz", gzip.compress(JSON_LINES.encode(), mtime=0)),
        ("packed-in-secret.jsonl", gzip.compress(JSON_LINES.encode(), mtime=0)),
        ("packed.csv.gz", gzip.compress(CSV.encode("utf-16"), mtime=0)),
        ("semicolons.csv", CSV.replace(",", ";").encode()),
        ("tabs.csv", CSV.replace(",", "\t").encode()),
        ("bars.csv", CSV.replace(",", "|").encode()),
        ("commas.tsv", CSV.encode()),
        ("sep.csv", b"sep=;\r\n" + CSV.replace(",", ";").replace("\n", "\r\n").encode()),
        ("windows.csv", CSV.replace("\n", "\r\n").encode()),
        ("old-mac.csv", CSV.replace("\n", "\r").encode()),
        ("windows.jsonl", JSON_LINES.replace("\n", "\r\n").encode()),
        ("no-newline-at-the-end.csv", CSV.rstrip().encode()),
        ("spaces.csv", CSV.replace("image,text", "\ufeff image , text ").encode()),
        ("quoted.csv", CSV.replace("image,text", '"image","text"').replace("一只猫", '"一只猫"').encode()),
        ("blank-lines.csv", CSV.replace("\n", "\n\n").encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_file_is_read_as_other_programs_write_it(folder, name, content):
    assert read(folder, name, content) == TEXTS


@pytest.mark.parametrize("text", ["一只,猫", "一只\n猫", '一只"猫"'])
def test_quoted_cells_keep_what_they_hold(folder, text):
    cell = text.replace('"', '""')
    content = f'image;text\n0.png;"{cell}"\n'.encode("utf-16")
    assert read(folder, "quoted.csv", content) == [" ".join(text.split())]


@pytest.mark.parametrize(
    ("encoding", "language", "texts"),
    [
        ("gb18030", "zh", TEXTS),
        ("big5", "zh", ["一隻貓在草地上", "紅色的車", "雪山和湖泊", "狗和貓"]),
        ("shift_jis", "ja", ["赤い車の写真", "ねこがいる", "犬と猫が草の上にいる", "山"]),
        ("euc_kr", "ko", ["빨간 자동차 사진", "고양이", "산과 호수", "개"]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_encoding_is_named_and_can_be_given(folder, encoding, language, texts, kind):
    rows = [{"image": f"{number}.png", "text": text} for number, text in enumerate(texts)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    if kind == "csv":
        lines = ["image,text", *(",".join(row.values()) for row in rows)]
    content = "\n".join(lines).encode(encoding)
    (folder / f"pairs.{kind}").write_bytes(content)
    with pytest.raises(ValueError, match=f"is not UTF-8; it looks like {encoding}: give --encoding {encoding}"):
        read_pairs(folder / f"pairs.{kind}")
    assert read(folder, f"pairs.{kind}", content, encoding=encoding) == texts


def test_bytes_that_are_not_of_the_encoding_that_was_given_are_counted(folder):
    (folder / "pairs.csv").write_bytes("image,text\n0.png,红\n".encode("gb18030") + b"1.png,\xff\xff\n")
    pairs, report = read_pairs(folder / "pairs.csv", encoding="gb18030", max_bad_fraction=0.5)
    assert pairs["text"][:] == ["红"]
    assert report.counts == {"invalid UTF-8": 1}
    with pytest.raises(ValueError, match="There is no encoding 'klingon'"):
        read_pairs(folder / "pairs.csv", encoding="klingon")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("book.csv", b"PK\x03\x04" + bytes(100), "Excel"),
        ("image.csv", b"\x89PNG\r\n\x1a\n" + bytes(100), "is an image"),
        ("table.jsonl", b"PAR1" + bytes(100), "is a parquet file"),
        ("zeros.csv", bytes(1000), "holds zeros"),
        ("packed.csv", b"BZh91AY" + bytes(range(256)), "packed with bzip2"),
        ("pointer.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "git lfs pull"),
        ("page.csv", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "is a web page"),
        ("cut.jsonl.gz", gzip.compress(JSON_LINES.encode() * 99, mtime=0)[:-20], "damaged gzip"),
        ("list.jsonl", b'[\n{"image": "0.png", "text": "x"}\n]', "JSON list"),
        ("one-line.jsonl", b'[{"image": "0.png", "text": "x"}]', "JSON list"),
        ("no-header.csv", b"0.png,red\n1.png,blue\n", "Its first line is a row: write the header image,text above"),
        ("twice.csv", b"image,text,text\n0.png,red,blue\n", "the column 'text' twice"),
        ("empty.csv", b"", "has no column, since its first line is empty"),
        ("pairs.parquet.gz", gzip.compress(b"PAR1", mtime=0), "is none of"),
    ],
)
def test_file_of_another_kind_is_refused_with_what_to_do(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_pairs(folder / name)
    assert len(str(caught.value)) < 400 + len(str(folder))


def test_zeros_in_captions_are_no_other_encoding(folder):
    assert read(folder, "pairs.csv", CSV.replace("一只", "一\0只").replace("湖\n", "湖\0\n").encode()) == TEXTS


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_pipe_and_device_are_no_files_of_pairs(folder, name):
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match="is no regular file but a pipe"):
        read_pairs(folder / name)
    (folder / f"linked-{name}").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is no regular file but a device"):
        read_pairs(folder / f"linked-{name}")


def test_line_of_many_megabytes_costs_one_row(folder):
    with (folder / "pairs.jsonl").open("wb") as file:
        file.write(b'{"image": "0.png", "text": "' + b"a" * 40_000_000 + b'"}\n' + JSON_LINES.encode())
    pairs, report = read_pairs(folder / "pairs.jsonl", max_bad_fraction=0.3)
    assert pairs["text"][:] == TEXTS
    assert report.counts == {"broken line": 1}


@pytest.mark.parametrize("first", [0, 1, 2])
def test_string_is_a_list_of_one_wherever_the_first_list_comes(folder, first):
    rows = [{"image": "0.png", "text": "红"}, {"image": "1.png", "text": "蓝", "boxes": [[0, 0, 4, 4]]}]
    rows.insert(first, {"image": "2.png", "text": ["绿", "黄"]})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    pairs, report = read_pairs(folder / "pairs.jsonl")
    lists = [row["text"] if isinstance(row["text"], list) else [row["text"]] for row in rows]
    assert pairs["text"][:] == lists
    assert pairs["row_number"][:] == [1, 2, 3]
    assert pairs["boxes"][:] == [row.get("boxes") for row in rows]
    assert report.rows_kept == 3
    assert pairs[0]["image"].size == (8, 8)


@pytest.mark.parametrize("cell", ['["绿", "黄"]', "['绿', '黄']"])
def test_list_in_a_cell_of_a_table_is_a_list(folder, cell):
    rows = f"image\ttext\n0.png\t红\n1.png\t{cell}\n2.png\t[绿]\n"
    assert read(folder, "pairs.tsv", rows.encode()) == [["红"], ["绿", "黄"], ["[绿]"]]


def test_parquet_files_with_strings_and_with_lists_are_read_together(folder):
    image = (folder / "0.png").read_bytes()
    (folder / "shards").mkdir()
    for number, text in enumerate(["红", ["绿", "黄"], "蓝"]):
        table = pa.table({"image": [{"bytes": image, "path": None}], "text": [text]})
        pq.write_table(table, folder / "shards" / f"{number}.parquet")
    pairs, _ = read_pairs(folder / "shards")
    assert pairs["text"][:] == [["红"], ["绿", "黄"], ["蓝"]]
    assert pairs[0]["image"].size == (8, 8)


def test_strings_alone_stay_strings(folder):
    assert read(folder, "pairs.jsonl", JSON_LINES.encode()) == TEXTS
