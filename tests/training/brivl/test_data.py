import io
import itertools
import json
import tarfile

import pytest
from PIL import Image
from transformers import HfArgumentParser
from wenlan.processing import build_character_tokenizer
from wenlan.training.brivl.data import REPORT_SAMPLE, DataArguments, load_pairs, report_data


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), color).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path, captions, images=None):
    with tarfile.open(path, "w") as archive:
        pairs = zip(captions, images or [png("red")] * len(captions), strict=True)
        for index, (caption, image) in enumerate(pairs):
            for suffix, content in (("png", image), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{index:05d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def lists_of_captions(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    captions = [["红色", "蓝色"], ["红色"], ["蓝色"], [""]]
    lines = [json.dumps({"image": "a.png", "text": text}) for text in captions]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    return str(tmp_path)


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_shard(folder / "0.tar", [*"一二三四五"])
    write_shard(folder / "1.tar", [*"六七八九十"])
    return str(folder)


@pytest.mark.parametrize(("duplicate_captions", "groups"), [("ignore", 1), ("mask", 2), ("positive", 2)])
def test_pairs_with_the_same_drawn_caption_share_a_group_unless_ignored(lists_of_captions, duplicate_captions, groups):
    args = DataArguments(lists_of_captions, duplicate_captions=duplicate_captions, max_bad_fraction=0.3)
    pairs, _ = load_pairs(args, seed=0)
    by_caption = {pair["text"]: pair["group_id"] for pair in pairs}
    assert len(by_caption) == 2
    assert len(set(by_caption.values())) == groups
    assert (-1 in by_caption.values()) is (duplicate_captions == "ignore")


def test_texts_for_the_vocabulary_are_all_captions(lists_of_captions):
    _, texts = load_pairs(DataArguments(lists_of_captions, max_bad_fraction=0.3), seed=0)
    assert texts == ["红色", "蓝色", "红色", "蓝色"]


@pytest.mark.parametrize("duplicate_captions", ["ignore", "mask", "positive"])
def test_emoji7_is_grouped_by_concept_whatever_is_done_with_duplicates(duplicate_captions):
    pairs, _ = load_pairs(DataArguments(duplicate_captions=duplicate_captions), seed=0)
    assert pairs[7]["group_id"] == pairs.dataset[7]["concept_id"]


def test_stream_is_endless_and_its_vocabulary_is_that_of_all_shards_on_every_rank(shards):
    args = DataArguments(shards, streaming=True, shuffle_buffer=2, duplicate_captions="mask")
    seen, texts = set(), []
    for rank in range(2):
        pairs, sample = load_pairs(args, seed=0, rank=rank, world_size=2)
        seen |= {(pair["text"], pair["group_id"] >= 0) for pair in itertools.islice(pairs, 5)}
        texts.append(sample)
        assert len(list(itertools.islice(pairs, 25))) == 25
    assert texts == [[*"一二三四五六七八九十"]] * 2
    assert seen == {(text, True) for text in "一二三四五六七八九十"}


def test_report_on_a_stream_is_on_the_pairs_of_all_ranks_and_leaves_its_counts_alone(shards):
    args = DataArguments(shards, streaming=True)
    pairs, _ = load_pairs(args, seed=0, rank=0, world_size=2)
    report = report_data(pairs, args)
    assert (report.pairs, report.is_sample) == (10, False)
    assert pairs.bad_rows.rows_read == 0


def test_report_on_a_long_stream_is_on_a_sample(shards):
    write_shard(f"{shards}/2.tar", [*map(str, range(REPORT_SAMPLE))])
    args = DataArguments(shards, streaming=True)
    report = report_data(load_pairs(args, seed=0)[0], args)
    assert (report.pairs, report.is_sample) == (REPORT_SAMPLE, True)


def test_report_on_own_pairs_tells_what_was_left_out_and_what_to_do(lists_of_captions):
    args = DataArguments(lists_of_captions, max_bad_fraction=0.3)
    pairs, texts = load_pairs(args, seed=0)
    tokenizer = build_character_tokenizer(texts, max_length=3)
    report = report_data(pairs, args, tokenizer=tokenizer, batch_size=2, queue_size=8)
    assert report.bad_rows == {"empty text": 1}
    assert report.cut_fraction == 1.0
    assert any("duplicate_captions" in warning for warning in report.warnings)
    assert any("queue_size" in warning for warning in report.warnings)


def test_damaged_images_of_a_stream_are_left_out_and_counted(shards):
    write_shard(f"{shards}/2.tar", ["好"] * 3, [png("red")[:45], b"nothing", png("red")])
    args = DataArguments(shards, streaming=True, max_bad_fraction=0.2)
    pairs, _ = load_pairs(args, seed=0)
    assert len(list(itertools.islice(pairs, 22))) == 22
    assert pairs.bad_rows.counts["not an image"] >= 1
    assert report_data(pairs, args).bad_rows == {"truncated": 1, "not an image": 1}


def test_decompression_bomb_costs_its_row_only(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")  # 50 kB
    write_shard(tmp_path / "0.tar", [*"一二三四"], [png("red"), buffer.getvalue(), png("red"), png("red")])
    args = DataArguments(str(tmp_path), streaming=True, max_bad_fraction=0.3)
    assert report_data(load_pairs(args, seed=0)[0], args).bad_rows == {"too large": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duplicate_captions": "merge"}, "give ignore, mask or positive"),
        ({"streaming": True}, "emoji7 is no stream"),
        ({"streaming": True, "data": "shards", "cached_views": 2}, "set cached_views to 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DataArguments(**options)


def test_options_are_read_from_a_command_line():
    (args,) = HfArgumentParser(DataArguments).parse_args_into_dataclasses(
        ["--data", "shards", "--streaming", "true", "--duplicate_captions", "positive", "--shuffle_buffer", "50"]
    )
    assert (args.streaming, args.duplicate_captions, args.shuffle_buffer) == (True, "positive", 50)


def test_names_of_image_classes_are_for_emoji7_and_cached_maps():
    _, texts = load_pairs(DataArguments(cached_views=1, image_class_names=True), seed=0)
    assert {"丁鲷"} <= set(texts)
    assert "tench" not in texts
    with pytest.raises(ValueError, match="image_class_names needs cached feature maps"):
        DataArguments(image_class_names=True)


@pytest.mark.parametrize("others", [{"data": "mine"}, {"language": "cs"}])
def test_names_of_image_classes_are_left_out_where_there_are_none(others):
    assert DataArguments(image_class_names=True, cached_views=1).has_class_names
    assert not DataArguments(image_class_names=True, **others).has_class_names


def test_czech_is_trained_on_without_names_of_image_classes():
    _, texts = load_pairs(DataArguments(cached_views=1, image_class_names=True, language="cs"), seed=0)
    assert "tench" not in texts
