import gzip

import pytest
from helpers.finetuning.caption_files import flickr_name, write_lines, write_multi30k
from wenlan.data import read_captions


def by_image(rows):
    return {row["image"]: row for row in rows}


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_images_have_five_captions_in_two_languages_and_one_in_the_others(tmp_path, suffix):
    rows = list(read_captions("multi30k", write_multi30k(tmp_path, suffix=suffix)))
    assert by_image(rows)["1002.jpg"] == {
        "image_id": "flickr30k:1002",
        "image": "1002.jpg",
        "split": "train",
        "captions": {
            "en": [f"en {n} of 1002" for n in range(1, 6)],
            "de": [f"de {n} of 1002" for n in range(1, 6)],
            "fr": ["fr of 1002"],
            "cs": ["cs of 1002"],
        },
        "source": "multi30k",
    }
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 2 + ["test"] * 3


def test_task_one_has_one_caption_in_each_language(tmp_path):
    rows = by_image(read_captions("multi30k", write_multi30k(tmp_path), task=1, languages=["en", "fr"]))
    assert rows["3000.jpg"]["captions"] == {"en": ["en of 3000"], "fr": ["fr of 3000"]}


def test_one_task_alone_is_enough(tmp_path):
    only_first = by_image(read_captions("multi30k", write_multi30k(tmp_path / "1", tasks=[1])))
    assert only_first["1000.jpg"]["captions"]["en"] == ["en of 1000"]
    only_second = by_image(read_captions("multi30k", write_multi30k(tmp_path / "2", tasks=[2])))
    assert only_second["1000.jpg"]["captions"].keys() == {"en", "de"}


def test_folder_data_itself_can_be_given_and_numbers_after_names_are_cut(tmp_path):
    write_multi30k(tmp_path, number_sign=True)
    rows = list(read_captions("multi30k", tmp_path / "data", task=1))
    assert [row["image"] for row in rows[:4]] == [flickr_name("train", number) for number in range(4)]


def test_another_test_set_keeps_its_name_and_its_images_of_coco(tmp_path):
    write_multi30k(tmp_path)
    folder = tmp_path / "data" / "task1"
    write_lines(folder / "image_splits" / "test_2017_mscoco.txt", ["COCO_train2014_000000000042.jpg#367178"])
    write_lines(folder / "raw" / "test_2017_mscoco.en.gz", ["a dog"])
    (row,) = read_captions("multi30k", tmp_path, splits=["test_2017_mscoco"])
    assert (row["image_id"], row["split"], row["captions"]) == ("coco:42", "test_2017_mscoco", {"en": ["a dog"]})


@pytest.mark.parametrize("lines", [["one"], ["one"] * 5, []])
def test_numbers_of_lines_that_disagree_are_refused(tmp_path, lines):
    write_multi30k(tmp_path)
    write_lines(tmp_path / "data/task1/raw/train.fr.gz", lines)
    with pytest.raises(ValueError, match=rf"train\.fr\.gz has {len(lines)} lines, but the list of images 4"):
        list(read_captions("multi30k", tmp_path))


def test_empty_line_is_a_caption_that_is_dropped_not_one_less(tmp_path):
    write_multi30k(tmp_path)
    write_lines(tmp_path / "data/task1/raw/train.fr.gz", ["un", "", "trois", "quatre"])
    data = read_captions("multi30k", tmp_path)
    rows = by_image(data)
    assert "fr" not in rows["1001.jpg"]["captions"]
    assert rows["1002.jpg"]["captions"]["fr"] == ["trois"]
    assert data.report.repairs == {"caption dropped": 1}
    assert "row train/1001.jpg" in data.report.examples["caption dropped"]


def test_carriage_return_and_line_separator_end_no_line(tmp_path):
    write_multi30k(tmp_path)
    write_lines(tmp_path / "data/task1/raw/train.fr.gz", ["un\rdeux", "trois\u2028quatre", "cinq\r", "six"])
    rows = by_image(read_captions("multi30k", tmp_path))
    assert [rows[flickr_name("train", n)]["captions"]["fr"] for n in range(3)] == [
        ["un deux"],
        ["trois quatre"],
        ["cinq"],
    ]


def test_bytes_that_are_no_utf8_cost_their_caption(tmp_path):
    write_multi30k(tmp_path)
    (tmp_path / "data/task1/raw/train.fr.gz").write_bytes(gzip.compress(b"un\n\xff\xfe\ntrois\nquatre\n"))
    data = read_captions("multi30k", tmp_path)
    assert sum("fr" in row["captions"] for row in data) == 4 - 1 + 2 + 3
    assert "invalid UTF-8" in data.report.examples["caption dropped"]


def test_empty_line_in_the_list_of_images_is_refused(tmp_path):
    write_multi30k(tmp_path)
    write_lines(tmp_path / "data/task1/image_splits/train.txt", ["1000.jpg", "", "1002.jpg", "1003.jpg"])
    with pytest.raises(ValueError, match=r"train\.txt, line 2 is empty"):
        list(read_captions("multi30k", tmp_path))


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"no archive", lambda content: b""])
def test_damaged_archive_is_refused_with_its_name(tmp_path, damage):
    write_multi30k(tmp_path)
    file = tmp_path / "data/task1/raw/val.cs.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"val\.cs\.gz (cannot be read|has 0 lines)"):
        list(read_captions("multi30k", tmp_path))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither task1 nor task2; give a copy of multi30k/dataset"):
        read_captions("multi30k", tmp_path)
    write_multi30k(tmp_path)
    (tmp_path / "data/task2/raw/val.4.de.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.1\.de\.gz, but no val\.4\.de; fetch all"):
        list(read_captions("multi30k", tmp_path))
    (tmp_path / "data/task1/image_splits/val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*val\.txt, the list of images"):
        list(read_captions("multi30k", tmp_path, task=1))


def test_language_or_split_that_is_not_there_is_refused(tmp_path):
    write_multi30k(tmp_path, tasks=[2])
    with pytest.raises(FileNotFoundError, match="no captions in fr in the splits train, val, test_2016"):
        read_captions("multi30k", tmp_path, languages=["en", "fr"])
    with pytest.raises(ValueError, match="no language 'ja', only en, de, fr, cs"):
        read_captions("multi30k", tmp_path, languages=["ja"])
    with pytest.raises(ValueError, match="task is 3"):
        read_captions("multi30k", tmp_path, task=3)
    with pytest.raises(FileNotFoundError, match="no captions of the split 'test_2018_flickr'; leave it out"):
        list(read_captions("multi30k", tmp_path, splits=["train", "test_2018_flickr"]))
