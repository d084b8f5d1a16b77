import json

import pytest
from wenlan.data.captions.text_corpus import CaptionedImage
from wenlan.data.translation.filters import TranslationFilter
from wenlan.data.translation.output import write_translated_captions
from wenlan.data.translation.shards import Translation

GERMAN = TranslationFilter("en", "de")


def write(path, rows, good=GERMAN, **options):
    """`rows`: (image, {caption: translation}); returns the written lines and the report."""
    pairs = [
        (CaptionedImage(image, tuple(texts), len(texts) > 1), [Translation(text) for text in texts.values()])
        for image, texts in rows
    ]
    report = write_translated_captions(path, lambda: iter(pairs), good, **options)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()], report


def test_good_captions_are_written_as_strings_or_lists_like_their_source(tmp_path):
    rows = [("0.png", {"a dog": "ein Hund", "two dogs": "zwei Hunde"}), ("1.png", {"a cat": "eine Katze"})]
    lines, report = write(tmp_path / "de.jsonl", rows)
    expected = [{"image": "0.png", "text": ["ein Hund", "zwei Hunde"]}, {"image": "1.png", "text": "eine Katze"}]
    assert lines == expected
    assert (report.rows_in, report.rows_out, report.captions_in, report.captions_out) == (2, 2, 3, 3)
    assert report.filtered_fraction == 0


def test_bad_captions_are_counted_with_three_examples_and_rows_without_any_are_gone(tmp_path):
    rows = [(f"{index}.png", {f"dog {index}": ""}) for index in range(5)]
    rows.append(("9.png", {"a dog": "", "two dogs": "zwei Hunde"}))
    lines, report = write(tmp_path / "de.jsonl", rows)
    assert lines == [{"image": "9.png", "text": ["zwei Hunde"]}]
    assert (report.rows_in, report.rows_out, report.captions_in, report.captions_out) == (6, 1, 7, 1)
    assert report.counts == {"empty": 6}
    assert report.examples == {"empty": [f"'dog {index}' -> ''" for index in range(3)]}


def test_same_text_of_the_same_image_is_kept_once_wherever_it_stands(tmp_path):
    rows = [
        ("0.png", {"a dog": "ein Hund", "one dog": "ein Hund"}),
        ("1.png", {"a dog": "ein Hund"}),
        ("0.png", {"the dog": "ein Hund"}),
    ]
    lines, report = write(tmp_path / "de.jsonl", rows)
    assert lines == [{"image": "0.png", "text": ["ein Hund"]}, {"image": "1.png", "text": "ein Hund"}]
    assert report.counts == {"duplicate": 2}


def test_translation_of_too_many_different_captions_is_left_out_everywhere(tmp_path):
    rows = [(f"{index}.png", {f"animal {chr(97 + index)}": "ein Hund"}) for index in range(4)]
    rows.append(("9.png", {"a cat": "eine Katze"}))
    lines, report = write(tmp_path / "de.jsonl", rows, max_sources=3)
    assert lines == [{"image": "9.png", "text": "eine Katze"}]
    assert report.counts == {"one for many": 4}
    _, allowed = write(tmp_path / "de.jsonl", rows, max_sources=4)
    assert allowed.captions_out == 5
    _, skipped = write(tmp_path / "de.jsonl", rows, TranslationFilter("en", "de", ["one for many"]), max_sources=3)
    assert skipped.captions_out == 5


def test_captions_that_differ_in_case_and_punctuation_count_as_one(tmp_path):
    rows = [
        (f"{i}.png", {text: "ein Hund"}) for i, text in enumerate(["A dog", "a dog", "a dog.", '"a dog"', "one dog"])
    ]
    _, report = write(tmp_path / "de.jsonl", rows, max_sources=2)
    assert report.captions_out == 5


def test_captions_in_their_own_language_lose_only_repetitions(tmp_path):
    rows = [(f"{index}.png", {"a dog": "a dog"}) for index in (0, 1, 0)]
    lines, report = write(tmp_path / "en.jsonl", rows, None, max_sources=1)
    assert [line["image"] for line in lines] == ["0.png", "1.png"]
    assert report.counts == {"duplicate": 1}


def test_nothing_good_gives_an_empty_file(tmp_path):
    lines, report = write(tmp_path / "de.jsonl", [("0.png", {"a dog": ""})])
    assert lines == []
    assert report.filtered_fraction == 1


def test_earlier_file_stays_when_reading_fails(tmp_path):
    write(tmp_path / "de.jsonl", [("0.png", {"a dog": "ein Hund"})])
    before = (tmp_path / "de.jsonl").read_bytes()

    def broken():
        yield CaptionedImage("1.png", ("a cat",), False), [Translation("eine Katze")]
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_translated_captions(tmp_path / "de.jsonl", broken, GERMAN)
    assert (tmp_path / "de.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["de.jsonl"]
