import os
import re

import numpy as np
import pytest
from helpers.few_shot import CLASSES, text_of, write_csldcp, write_rows
from wenlan.data.csldcp.load import check_super_classes, find_csldcp, read_csldcp
from wenlan.data.rows.report import TooManyBadRowsError


@pytest.fixture
def folder(tmp_path):
    return write_csldcp(tmp_path / "csldcp")


def rows_of(label_of_last):
    labels = [*CLASSES * 3, label_of_last]
    return [(label, text_of(CLASSES[0], number)) for number, label in enumerate(labels)]


def test_splits_and_test_are_read_with_the_numbers_of_their_labels(folder):
    data = read_csldcp(folder)
    assert data.classes == CLASSES
    assert [len(split.texts) for split in data.train] == [24] * 5
    assert np.bincount(data.train[4].labels).tolist() == [8, 8, 8]
    assert data.test.texts[0] == text_of("天文学", 1000)
    assert set(data.test.labels) == {0, 1}
    assert data.report.rows_kept == 5 * 24 + 12


def test_draw_is_one_text_of_each_class_by_split_and_number(folder):
    data = read_csldcp(folder)
    draws = [data.draw(split, draw) for split in range(2) for draw in range(3)]
    assert all(data.train[0].labels[draw].tolist() == [0, 1, 2] for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 3
    rng = np.random.default_rng(1002)
    assert draws[5].tolist() == [rng.choice(np.arange(8 * number, 8 * number + 8)) for number in range(3)]
    left = data.remaining(1, 2)
    assert len(left) == 21
    assert not set(left) & set(draws[5])


@pytest.mark.parametrize("below", ["", "csldcp", "datasets/csldcp"])
def test_folder_or_one_above_it_is_found(tmp_path, below, monkeypatch):
    where = write_csldcp(tmp_path / below)
    assert find_csldcp(str(tmp_path)) == where
    monkeypatch.setenv("WENLAN_FEWCLUE", str(tmp_path))
    assert find_csldcp(None) == where


def test_folder_that_is_not_given_or_holds_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("WENLAN_FEWCLUE", raising=False)
    with pytest.raises(FileNotFoundError, match="give its folder as --fewclue or in WENLAN_FEWCLUE"):
        find_csldcp(None)
    with pytest.raises(FileNotFoundError, match=r"holds no labels_all\.txt"):
        find_csldcp(str(tmp_path))


def test_missing_split_files_are_named_together(folder):
    (folder / "train_2.json").unlink()
    (folder / "train_4.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks train_2\.json, train_4\.json"):
        read_csldcp(folder)


def test_label_outside_the_list_is_an_error_with_its_line(folder):
    write_rows(folder / "train_1.json", rows_of("炼金术"))
    with pytest.raises(ValueError, match=r"train_1\.json, line train_1\.json/10: the label '炼金术' is not in"):
        read_csldcp(folder)


def test_empty_texts_and_broken_lines_are_left_out_and_counted(folder):
    with (folder / "test_public.json").open("a", encoding="utf-8") as file:
        file.write('{"content": " \\u3000", "label": "天文学", "id": 1}\n{"content"\n{"label": "天文学"}\n[1]\n')
    data = read_csldcp(folder, max_bad_fraction=0.1)
    assert data.report.counts == {"empty text": 1, "broken line": 2, "missing field": 1}
    assert "test_public.json/13" in data.report.examples["empty text"]
    assert len(data.test.texts) == 12
    with pytest.raises(TooManyBadRowsError):
        read_csldcp(folder)


def test_class_without_a_text_to_learn_from_is_an_error(folder):
    write_rows(folder / "train_3.json", [(label, text_of(label, 1)) for label in CLASSES[:2]])
    with pytest.raises(ValueError, match=r"train_3\.json has no text of 农业工程"):
        read_csldcp(folder)


def test_label_that_is_twice_in_the_list_is_an_error(folder):
    (folder / "labels_all.txt").write_text("天文学\n作物学\n农业工程\n作物学\n", "utf-8")
    with pytest.raises(ValueError, match="has 作物学 twice"):
        read_csldcp(folder)


def test_labels_in_another_encoding_and_no_text_to_classify_are_told(folder):
    (folder / "test_public.json").write_bytes(b"")
    with pytest.raises(ValueError, match=r"test_public\.json has no text to classify"):
        read_csldcp(folder)
    (folder / "labels_all.txt").write_bytes("天文学\n作物学\n".encode("gb18030"))
    with pytest.raises(ValueError, match=r"labels_all\.txt is not UTF-8"):
        read_csldcp(folder)


def test_digest_is_that_of_the_files(folder):
    before = read_csldcp(folder).digest
    assert read_csldcp(folder).digest == before
    write_csldcp(folder, tested=7)
    assert read_csldcp(folder).digest != before


@pytest.mark.parametrize(
    ("groups", "message"),
    [({"天文学": "理学"}, "lacks 2 classes, such as 作物学"), (dict.fromkeys([*CLASSES, "炼金术"], "工学"), "炼金术")],
)
def test_map_of_disciplines_has_all_classes_and_no_others(groups, message):
    with pytest.raises(ValueError, match=message):
        check_super_classes(groups, CLASSES)
    assert check_super_classes(dict.fromkeys(CLASSES, "工学"), CLASSES) == ["工学"] * 3


@pytest.mark.skipif("WENLAN_FEWCLUE" not in os.environ, reason="the user's copy of FewCLUE is not there")
def test_real_files_are_those_of_the_publication():
    data = read_csldcp(find_csldcp(None))
    assert len(data.classes) == 67
    assert [len(split.texts) for split in data.train] == [536] * 5
    assert len(data.test.texts) == 1784
    assert len(set(data.test.labels)) == 66
    assert re.search("kept 4464 of 4464", str(data.report))
