import csv
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from wenlan.data import read_pairs
from wenlan.data.cleaning.pipeline import clean_pairs
from wenlan.data.cleaning.settings import SWITCHES, CleanSettings
from wenlan.data.pairs.streaming import StreamedPairs
from wenlan.processing import decode_image
from wenlan.training.brivl.data import DataArguments, load_pairs, report_data

SPLITS = ["train", "Val", "train", "test", "dev", "validation", "training"]


@pytest.fixture
def rows(tmp_path):
    for number in range(len(SPLITS)):
        Image.new("RGB", (9, 9), (number * 30, 0, 0)).save(tmp_path / f"{number}.png")
    return [
        {"file_name": f"{number}.png", "split": split, "text_zh": f"红{number}", "text_en": f"red {number}"}
        for number, split in enumerate(SPLITS)
    ]


def write_table(folder, rows, kind):
    file = folder / f"metadata.{kind}"
    if kind == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        with file.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return file


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_a_split_and_a_language_are_read_from_their_columns(tmp_path, rows, kind):
    file = write_table(tmp_path, rows, kind)
    train, report = read_pairs(file, text_column="text_zh", split="train")
    assert train["text"][:] == ["红0", "红2", "红6"]
    assert report.other_splits == {"validation": 3, "test": 1}
    assert (report.rows_read, report.counts) == (3, {})
    validation, _ = read_pairs(file, text_column="text_en", split="val")
    assert validation["text"][:] == ["red 1", "red 4", "red 5"]
    everything, report = read_pairs(file, text_column="text_en")
    assert (len(everything), report.other_splits) == (7, {})


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_column_may_be_written_in_capitals(tmp_path, rows, kind):
    file = write_table(tmp_path, [{"SPLIT " if k == "split" else k: row[k] for k in row} for row in rows], kind)
    assert read_pairs(file, text_column="text_zh", split="train")[0]["text"][:] == ["红0", "红2", "红6"]


def test_without_a_column_split_all_rows_are_of_every_split(tmp_path, rows):
    file = write_table(tmp_path, [{key: row[key] for key in row if key != "split"} for row in rows], "jsonl")
    assert len(read_pairs(file, text_column="text_zh", split="train")[0]) == 7


def test_a_split_that_no_row_has_is_an_error_that_names_those_there_are(tmp_path, rows):
    file = write_table(tmp_path, rows[1:2] + rows[3:6], "csv")
    with pytest.raises(ValueError, match=r"no rows of the split 'train', only of validation \(3\), test \(1\)"):
        read_pairs(file, text_column="text_zh", split="train")


def test_a_row_without_a_split_among_others_is_left_out_and_counted(tmp_path, rows):
    del rows[2]["split"]
    rows[6]["split"] = ""
    file = write_table(tmp_path, rows, "jsonl")
    train, report = read_pairs(file, text_column="text_zh", split="train", max_bad_fraction=0.7)
    assert train["text"][:] == ["红0"]
    assert report.counts == {"bad split": 2}


def test_training_takes_train_and_reports_the_others(tmp_path, rows):
    args = DataArguments(data=str(write_table(tmp_path, rows, "jsonl")), text_column="text_zh")
    pairs, texts = load_pairs(args, seed=0)
    assert texts == ["红0", "红2", "红6"]
    report = report_data(pairs, args)
    assert report.other_splits == {"validation": 3, "test": 1}
    assert "validation 3, test 1" in str(report)
    args.split = "all"
    assert len(load_pairs(args, seed=0)[0]) == 7


@pytest.mark.parametrize("bytes_in_table", [False, True])
def test_cleaned_pairs_keep_their_split_and_their_languages_column(tmp_path, rows, bytes_in_table):
    for row in rows if bytes_in_table else ():
        row["image"] = {"bytes": (tmp_path / row.pop("file_name")).read_bytes(), "path": None}
    file = write_table(tmp_path, rows, "parquet" if bytes_in_table else "jsonl")
    settings = CleanSettings(skip=[rule for rule in SWITCHES if rule != "equal_pairs"])
    clean_pairs(file, tmp_path / "clean", decode=decode_image, text_column="text_zh", settings=settings)
    output = next((tmp_path / "clean").glob("pairs.*"))
    train, report = read_pairs(output, image_root=tmp_path, text_column="text_zh", split="train")
    assert train["text"][:] == ["红0", "红2", "红6"]
    assert report.other_splits == {"validation": 3, "test": 1}


def test_a_stream_gives_the_samples_of_its_split_alone(tmp_path, rows):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number, row in enumerate(rows):
            (tmp_path / f"{number}.json").write_text(json.dumps(row), "utf-8")
            for suffix in ("png", "json"):
                archive.add(tmp_path / f"{number}.{suffix}", f"{number}.{suffix}")
    stream = StreamedPairs(tmp_path / "0.tar", text_column="text_zh", split="train", check_image=decode_image)
    assert sorted(row["text"] for row in stream) == ["红0", "红2", "红6"]
    assert stream.sample_texts(10) == ["红0", "红2", "红6"]
    assert len(list(StreamedPairs(tmp_path / "0.tar", text_column="text_zh"))) == 7
