import io
import json
import os

import pytest
from datasets import Dataset
from PIL import Image
from transformers import BertTokenizer
from wenlan.data import BadRowReport, PairReport, StreamedPairs, TrainingPairs, report_pairs
from wenlan.data.pairs.report_warnings import OTHER_LANGUAGE, find_warnings
from wenlan.data.rows.report import BadRowError


def png(color, size=(9, 12)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def rows(*captions, **columns):
    """Rows of different images with these captions."""
    return [{"image": png((i % 256, i // 256, 0)), "text": text, **columns} for i, text in enumerate(captions)]


def warnings_about(word, report):
    return [warning for warning in report.warnings if word in warning]


@pytest.fixture
def tokenizer():
    """Knows 红, 色 and 车; adds [CLS] and [SEP]."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "色", "车"]
    return BertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)}, model_max_length=8)


def test_captions_that_differ_in_case_and_white_space_only_are_duplicates():
    report = report_pairs(rows("Red car", "red  car", "blue", "RED CAR", "blue", "green"), source="mine", language="en")
    assert report.pairs == 6
    assert report.duplicate_captions == 3
    assert report.most_common_captions == [("red car", 3), ("blue", 2)]


def test_commonest_captions_have_exact_numbers_among_many_others():
    captions = [f"caption {index}" for index in range(3000)]
    captions[1500:1500] = ["often"] * 40
    captions[100:2900:250] = ["sometimes"] * 12
    report = report_pairs(rows(*captions), source="mine", language="en")
    assert report.most_common_captions[0] == ("often", 40)
    assert report.duplicate_captions == 39 + 11


def test_images_that_are_equal_byte_for_byte_are_duplicates(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    images = [png("red"), str(tmp_path / "a.png"), png("blue"), png("red", (9, 13))]
    report = report_pairs([{"image": image, "text": str(i)} for i, image in enumerate(images)], source="mine")
    assert report.duplicate_images == 1
    assert warnings_about("images come again", report)


def test_short_sides_are_those_of_the_headers():
    pairs = [{"image": png("red", (40, 30 + i)), "text": str(i)} for i in range(5)] + [{"image": b"?", "text": "x"}]
    report = report_pairs(pairs, source="mine")
    assert report.short_sides == {"minimum": 30, "median": 32, "95 %": 34, "maximum": 34}


def test_decoded_images_are_counted_too():
    pairs = [{"image": Image.new("RGB", (7, 9), color), "text": color} for color in ("red", "blue", "red")]
    report = report_pairs(pairs, source="mine")
    assert (report.duplicate_images, report.short_sides["median"]) == (1, 7)


def test_length_is_that_of_characters():
    report = report_pairs(rows("一", "一二三", "一二三四五"), source="mine")
    assert report.characters == {"minimum": 1, "median": 3, "95 %": 5, "maximum": 5}
    assert report.tokens == {}


def test_cut_and_unknown_tokens_are_counted_with_a_tokenizer(tokenizer):
    report = report_pairs(rows("红色车", "红色车红色车红", "猫色"), source="mine", tokenizer=tokenizer)
    assert report.tokens == {"minimum": 4, "median": 5, "95 %": 9, "maximum": 9}
    assert report.max_tokens == 8
    assert report.cut_fraction == pytest.approx(1 / 3)
    assert report.unknown_fraction == pytest.approx(1 / 12)
    assert warnings_about("longer than 8 tokens", report)
    assert warnings_about("[UNK]", report)


@pytest.mark.parametrize(("max_tokens", "cut"), [(4, 2 / 3), (5, 1 / 3), (100, 1 / 3)])
def test_captions_are_cut_where_the_model_or_the_tokenizer_says(tokenizer, max_tokens, cut):
    pairs = rows("红色车", "红色车红色车红", "色")
    report = report_pairs(pairs, source="mine", tokenizer=tokenizer, max_tokens=max_tokens)
    assert report.cut_fraction == pytest.approx(cut)


@pytest.mark.parametrize(
    ("language", "other"),
    [("zh", 0.6), ("en", 0.4), ("ja", 0.4), ("ko", 0.6)],
)
def test_share_of_another_language_is_seen_by_the_script(language, other):
    captions = ["一只猫", "a cat", "der Hund", "これは", "123!"]
    report = report_pairs(rows(*captions), source="mine", language=language)
    assert report.scripts == {"Latin": 0.4, "Han": 0.2, "Kana": 0.2, "none": 0.2}
    assert report.other_language_fraction == pytest.approx(other)
    assert warnings_about("are not written as", report)


def test_bad_rows_come_from_the_pairs_themselves():
    bad = BadRowReport("mine.jsonl", rows_kept=18)
    bad.add_bad_row(BadRowError("truncated", "a.png"), 3)
    bad.add_bad_row(BadRowError("truncated", "b.png"), 4)
    bad.add_repair("box dropped", 5, "[3, 3, 1, 1]")
    dataset = Dataset.from_dict({"image": ["a.png"], "text": ["一"]}).map(lambda row: {"image": png("red")})
    report = report_pairs(TrainingPairs(dataset, bad_rows=bad), source="mine")
    assert report.bad_rows == {"truncated": 2}
    assert "left out: 2 x truncated. First: mine.jsonl, row 3" in str(report)
    assert "repaired: 1 x box dropped. First: mine.jsonl, row 5" in str(report)
    assert warnings_about("left out, most of them for 'truncated'", report)


def test_only_so_many_pairs_are_counted_and_it_is_said():
    pairs = rows(*"一二三四五")
    assert report_pairs(pairs, source="mine", max_pairs=5).is_sample is False
    report = report_pairs(pairs, source="mine", max_pairs=4)
    assert (report.pairs, report.is_sample) == (4, True)
    assert "the first 4; there are more" in str(report)


def test_many_duplicate_captions_are_a_warning_unless_rows_are_grouped():
    captions = ["红", *map(str, range(10)), "红"]
    assert warnings_about("duplicate_captions to mask", report_pairs(rows(*captions), source="mine"))
    grouped = report_pairs(rows(*captions, group_id=5), source="mine")
    assert not warnings_about("duplicate_captions", grouped)


def test_captions_like_labels_are_a_warning_also_where_rows_are_grouped():
    report = report_pairs(rows(*["猫", "狗"] * 20, group_id=5), source="mine")
    assert warnings_about("as labels do", report)


def test_fewer_pairs_than_a_batch_or_a_queue_are_a_warning():
    pairs = rows(*"一二三四五")
    assert warnings_about("fewer than a batch of 6", report_pairs(pairs, source="mine", batch_size=6))
    assert warnings_about("The queue holds 6 keys", report_pairs(pairs, source="mine", queue_size=6))
    assert report_pairs(pairs, source="mine", batch_size=5, queue_size=5).warnings == []


def test_sample_of_more_pairs_says_nothing_about_batch_and_queue():
    report = report_pairs(rows(*"一二三四五"), source="mine", max_pairs=3, batch_size=4, queue_size=4)
    assert report.warnings == []


def test_good_pairs_have_no_warning(tokenizer):
    report = report_pairs(rows("红色", "红车", "车"), source="mine", tokenizer=tokenizer, batch_size=3, queue_size=2)
    assert report.warnings == []
    assert "WARNING" not in str(report)


def test_threshold_itself_is_no_warning():
    report = PairReport("mine", 100, other_language_fraction=OTHER_LANGUAGE)
    assert find_warnings(report, is_grouped=False, batch_size=None, queue_size=None) == []
    report.other_language_fraction = OTHER_LANGUAGE + 0.01
    assert len(find_warnings(report, is_grouped=False, batch_size=None, queue_size=None)) == 1


def test_file_holds_what_the_report_holds_and_leaves_nothing_else(tmp_path):
    report = report_pairs(rows("红", "红", "车"), source="mine")
    report.save(tmp_path / "out" / "data_report.json")
    content = json.loads((tmp_path / "out" / "data_report.json").read_text("utf-8"))
    assert content["most_common_captions"] == [["红", 2]]
    assert content["warnings"] == report.warnings
    assert os.listdir(tmp_path / "out") == ["data_report.json"]


def test_no_pairs_and_unknown_languages_are_refused():
    with pytest.raises(ValueError, match="mine holds no pairs"):
        report_pairs([], source="mine")
    with pytest.raises(ValueError, match="'xx'; it must be one of zh"):
        report_pairs(rows("a"), source="mine", language="xx")


def test_stream_is_reported_with_what_it_left_out(tmp_path):
    table = Dataset.from_dict({"image": [png("red"), b"", png("blue")], "text": ["红", "红", "image"]})
    table.to_parquet(tmp_path / "a.parquet")
    report = report_pairs(StreamedPairs(tmp_path, max_bad_fraction=1.0), source="mine")
    assert report.pairs == 1
    assert report.bad_rows == {"empty file": 1, "useless text": 1}
