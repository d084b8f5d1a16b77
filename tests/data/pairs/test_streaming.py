import io
import itertools
import json
import random
import tarfile
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from wenlan.data import StreamedPairs, TooManyBadRowsError
from wenlan.data.pairs.shards import find_shards, read_shard
from wenlan.data.pairs.streaming import MIN_ROWS


def png(color="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), color).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
NOISE = io.BytesIO()
Image.effect_noise((64, 64), 90).save(NOISE, "PNG")
TRUNCATED = NOISE.getvalue()[:3000]


class BadImageError(ValueError):
    def __init__(self, message, cause):
        super().__init__(message)
        self.cause = cause


def check_image(source):
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
    except OSError as error:
        raise BadImageError(str(error), "truncated" if "truncated" in str(error) else "not an image") from error


def write_tar(path, samples):
    """A shard of {key: {suffix: bytes}}."""
    with tarfile.open(path, "w") as archive:
        for key, parts in samples.items():
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def sample(text="red", **parts):
    return {"png": PNG, "txt": text.encode()} | {suffix: dump(value) for suffix, value in parts.items()}


def dump(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def write_shards(folder, sizes, kind="tar"):
    """Shards of so many samples each; the captions are "0-0", "0-1", ..., "1-0", ..."""
    folder.mkdir(exist_ok=True)
    for shard, size in enumerate(sizes):
        captions = [f"{shard}-{index}" for index in range(size)]
        if kind == "tar":
            write_tar(
                folder / f"{shard:05d}.tar", {f"{index:06d}": sample(text) for index, text in enumerate(captions)}
            )
        else:
            table = pa.table({"image": [PNG] * size, "text": captions})
            pq.write_table(table, folder / f"{shard:05d}.parquet", row_group_size=4)
    return folder


def read(stream, workers=0, batch_size=4):
    loader = DataLoader(stream, batch_size=batch_size, num_workers=workers, collate_fn=list)
    return [row for batch in loader for row in batch]


def texts(rows):
    return [row["text"] for row in rows]


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path / "shards", [5, 7, 3])


ALL = {f"{shard}-{index}" for shard, size in enumerate([5, 7, 3]) for index in range(size)}


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_rows_are_those_of_training_pairs(tmp_path, kind):
    row = next(iter(StreamedPairs(write_shards(tmp_path / kind, [1], kind))))
    assert sorted(row) == ["draw_seed", "group_id", "image", "text"]
    assert (row["image"], row["text"], row["group_id"]) == (PNG, "0-0", -1)
    assert 0 <= row["draw_seed"] < 2**63


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("sizes", "world_size"), [([9], 1), ([5, 7, 3], 1), ([9], 2), ([5, 7, 3], 2), ([4] * 6, 3)])
def test_ranks_and_workers_read_every_sample_exactly_once(tmp_path, kind, workers, sizes, world_size):
    folder = write_shards(tmp_path / "shards", sizes, kind)
    ranks = [
        read(StreamedPairs(folder, rank=rank, world_size=world_size, shuffle_buffer=3), workers)
        for rank in range(world_size)
    ]
    seen = Counter(itertools.chain(*map(texts, ranks)))
    assert seen == {f"{shard}-{index}": 1 for shard, size in enumerate(sizes) for index in range(size)}
    assert all(ranks)


def test_order_repeats_for_seed_and_epoch_and_differs_between_them(shards):
    orders = {}
    for seed, epoch in itertools.product(range(3), range(3)):
        stream = StreamedPairs(shards, seed=seed)
        stream.set_epoch(epoch)
        orders[seed, epoch] = texts(read(stream))
        assert texts(read(stream)) == orders[seed, epoch]
    assert len(set(map(tuple, orders.values()))) == 9


def test_what_is_drawn_does_not_depend_on_ranks_workers_or_the_shuffle_buffer(shards):
    def drawn(**options):
        workers = options.pop("workers", 0)
        return {row["text"]: row["draw_seed"] for row in read(StreamedPairs(shards, **options), workers)}

    whole = drawn()
    assert len(set(whole.values())) == 15
    assert drawn(workers=2) == drawn(shuffle_buffer=1) == whole
    assert drawn(rank=0, world_size=2) | drawn(rank=1, world_size=2) == whole
    assert not set(drawn(seed=1).values()) & set(whole.values())


def test_number_of_a_pinned_draw_stays(shards):
    stream = StreamedPairs(shards, seed=7)
    stream.set_epoch(2)
    row = next(row for row in stream if row["text"] == "1-3")
    assert row["draw_seed"] == random.Random("7-2-00001.tar/000003").getrandbits(63)


def test_draws_do_not_depend_on_where_the_folder_is(tmp_path):
    first, second = (write_shards(tmp_path / name, [3]) for name in ("here", "there"))
    assert texts(read(StreamedPairs(first))) == texts(read(StreamedPairs(second)))
    assert [row["draw_seed"] for row in StreamedPairs(first)] == [row["draw_seed"] for row in StreamedPairs(second)]


def test_global_generators_are_neither_read_nor_moved(shards):
    random.seed(0)
    torch.manual_seed(0)
    states = random.getstate(), torch.get_rng_state()
    first = list(StreamedPairs(shards))
    assert random.getstate() == states[0]
    torch.testing.assert_close(torch.get_rng_state(), states[1])
    random.seed(1)
    assert list(StreamedPairs(shards)) == first


def test_endless_stream_reads_pass_after_pass_each_in_another_order(shards):
    stream = StreamedPairs(shards, endless=True)
    rows = list(itertools.islice(stream, 45))
    passes = [texts(rows)[start : start + 15] for start in (0, 15, 30)]
    assert [sorted(one) for one in passes] == [sorted(ALL)] * 3
    assert len(set(map(tuple, passes))) == 3
    assert len({row["draw_seed"] for row in rows}) == 45


def test_endless_stream_passes_are_those_of_the_epochs(shards):
    stream = StreamedPairs(shards)
    stream.set_epoch(1)
    endless = StreamedPairs(shards, endless=True)
    assert list(itertools.islice(endless, 15, 30)) == list(stream)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [2, 3])
def test_endless_stream_never_ends_or_spins_with_more_workers_than_shards(tmp_path, workers):
    stream = StreamedPairs(write_shards(tmp_path / "shards", [2, 3]), endless=True)
    loader = iter(DataLoader(stream, batch_size=4, num_workers=workers, collate_fn=list))
    seen = Counter(text for batch in itertools.islice(loader, 20) for text in texts(batch))
    assert sum(seen.values()) == 80
    assert len(seen) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_what_was_seen_continues_exactly_also_in_a_later_pass(shards, workers):
    def batches(count):
        stream = StreamedPairs(shards, endless=True, shuffle_buffer=4)
        return list(itertools.islice(DataLoader(stream, batch_size=4, num_workers=workers, collate_fn=list), count))

    whole = batches(12)
    assert batches(5) == whole[:5]
    assert batches(12)[9:] == whole[9:]


BAD_SAMPLES = {
    "missing field": [{"txt": b"red"}, {"png": PNG}, {"png": PNG, "json": b"{}"}],
    "invalid UTF-8": [sample() | {"txt": b"\xff\xff"}, {"png": PNG, "json": b'{"text": "\xff"}'}],
    "broken JSON": [{"png": PNG, "json": b"{"}, {"png": PNG, "json": b"[1]"}, {"png": PNG, "json": b"[" * 100_000}],
    "empty text": [sample(" \ufeff\n")],
    "useless text": [sample("https://example.org/a.jpg"), sample("IMG 0001.JPG"), sample("image")],
    "text is no string": [{"png": PNG, "json": b'{"text": 7}'}],
    "empty file": [{"png": b"", "txt": b"red"}],
    "not an image": [{"jpg": b"nothing", "txt": b"red"}],
    "truncated": [{"png": TRUNCATED, "txt": b"red"}],
}
BAD_COUNTS = {cause: len(samples) for cause, samples in BAD_SAMPLES.items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_of_every_kind_are_counted_exactly_over_the_workers(tmp_path, workers):
    bad = list(itertools.chain(*BAD_SAMPLES.values()))
    for shard in range(3):  # 5 % bad
        good = [sample(f"good {index}") for index in range(19 * len(bad))]
        mixed = random.Random(shard).sample(good + bad, len(good) + len(bad))
        write_tar(tmp_path / f"{shard}.tar", {f"{index:06d}": parts for index, parts in enumerate(mixed)})
    stream = StreamedPairs(tmp_path, check_image=check_image, max_bad_fraction=0.06)
    assert len(read(stream, workers)) == 3 * 19 * len(bad)
    report = stream.bad_rows
    assert report.counts == {cause: 3 * count for cause, count in BAD_COUNTS.items()}
    assert (report.rows_read, report.rows_kept) == (60 * len(bad), 57 * len(bad))
    assert report.bad_fraction == pytest.approx(0.05)
    assert set(report.examples) == set(BAD_COUNTS)
    assert ".tar/0" in report.examples["truncated"]


def test_damaged_rows_of_parquet_are_counted(tmp_path):
    images = [PNG, b"", b"nothing", TRUNCATED, None, PNG, PNG, PNG]
    captions = [b"red", b"red", b"red", b"red", b"red", b"\xff\xff", None, b"image"]
    texts = pa.array(captions, pa.binary()).view(pa.string())  # Arrow writes it unchecked
    pq.write_table(pa.table({"image": images, "text": texts}), tmp_path / "a.parquet")
    stream = StreamedPairs(tmp_path, check_image=check_image, max_bad_fraction=0.9)
    assert len(read(stream)) == 1
    one_each = dict.fromkeys(["empty file", "not an image", "truncated", "invalid UTF-8", "useless text"], 1)
    assert stream.bad_rows.counts == {"missing field": 2, **one_each}


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 3 * 512 + 100, 4 * 512, 10 * 512, 11 * 512 + 1, 39 * 512, 40 * 512])
def test_tar_cut_off_anywhere_costs_only_what_is_lost(tmp_path, cut):
    write_shards(tmp_path, [10, 10])
    file = tmp_path / "00000.tar"  # a sample is four blocks
    file.write_bytes(file.read_bytes()[:cut])
    stream = StreamedPairs(tmp_path, max_bad_fraction=0.9)
    whole_samples = cut // (4 * 512)
    assert len(read(stream)) == 10 + whole_samples
    assert stream.bad_rows.counts["broken shard"] == 1
    assert "00000.tar" in stream.bad_rows.examples["broken shard"]


def test_damaged_header_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path):
    write_shards(tmp_path, [10])
    content = bytearray((tmp_path / "00000.tar").read_bytes())
    content[20 * 512 : 20 * 512 + 300] = b"\x07" * 300
    (tmp_path / "00000.tar").write_bytes(content)
    stream = StreamedPairs(tmp_path, max_bad_fraction=0.9)
    assert len(read(stream)) == 5
    assert stream.bad_rows.counts == {"broken shard": 1}


def test_parquet_cut_off_or_damaged_inside_costs_only_what_is_lost(tmp_path):
    write_shards(tmp_path, [8, 8, 12], "parquet")
    content = (tmp_path / "00001.parquet").read_bytes()
    (tmp_path / "00001.parquet").write_bytes(content[:-20])
    start = pq.read_metadata(tmp_path / "00002.parquet").row_group(1).column(0).data_page_offset
    content = (tmp_path / "00002.parquet").read_bytes()
    (tmp_path / "00002.parquet").write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
    stream = StreamedPairs(tmp_path, max_bad_fraction=0.9)
    assert sorted(texts(read(stream)))[8:] == sorted(f"2-{index}" for index in (0, 1, 2, 3, 8, 9, 10, 11))
    assert stream.bad_rows.counts == {"broken shard": 2}


@pytest.mark.parametrize(("broken", "endless"), [(2, False), (2, True), (4, True)])
def test_broken_shards_are_compared_with_all_shards(tmp_path, broken, endless):
    write_shards(tmp_path, [10] * 5)
    for number in range(broken):
        file = tmp_path / f"0000{number}.tar"
        file.write_bytes(file.read_bytes()[: 4 * 512 + 100] if number else b"")
    with pytest.raises(TooManyBadRowsError, match=r"2 of 5 shards are broken or empty; at most 10%"):
        list(itertools.islice(StreamedPairs(tmp_path, endless=endless, shuffle_buffer=1), 100))
    assert len(read(StreamedPairs(tmp_path, max_bad_fraction=0.8))) >= 10


def test_too_many_bad_rows_stop_the_stream_with_the_counts(tmp_path):
    write_tar(tmp_path / "a.tar", {f"{index}": sample("image" if index < 3 else "red") for index in range(20)})
    with pytest.raises(TooManyBadRowsError, match=r"3 of the 20 rows(?s:.*)left out 3 x useless text"):
        read(StreamedPairs(tmp_path))
    assert len(read(StreamedPairs(tmp_path, max_bad_fraction=0.15))) == 17


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_rows_stop_an_endless_stream_early(tmp_path, workers):
    write_tar(tmp_path / "a.tar", {f"{index}": sample("image") for index in range(2 * MIN_ROWS)})
    with pytest.raises(TooManyBadRowsError, match=f"{MIN_ROWS} of the {MIN_ROWS} rows"):
        read(StreamedPairs(tmp_path, endless=True), workers)


def test_endless_stream_without_a_good_row_stops_whatever_is_allowed(tmp_path):
    write_tar(tmp_path / "a.tar", {"0": sample("image")})
    with pytest.raises(TooManyBadRowsError):
        read(StreamedPairs(tmp_path, endless=True, max_bad_fraction=1.0))


@pytest.mark.parametrize(
    ("parts", "text_column", "text"),
    [
        ({"txt": b"plain"}, "text", "plain"),
        ({"txt": b"plain", "json": b'{"caption": "json"}'}, "text", "plain"),
        ({"txt": b"plain", "json": b'{"caption": "json"}'}, "caption", "json"),
        ({"json": b'{"caption": "json"}'}, "text", "json"),
        ({"json": b'{"alt": "named", "caption": "json"}'}, "alt", "named"),
        ({"txt": b"\xef\xbb\xbf red\ncar "}, "text", "red car"),
    ],
)
def test_caption_of_a_tar_sample_is_the_named_field_then_txt_then_caption(tmp_path, parts, text_column, text):
    write_tar(tmp_path / "a.tar", {"0": {"jpg": PNG, **parts}})
    assert texts(StreamedPairs(tmp_path, text_column=text_column)) == [text]


@pytest.mark.slow
def test_one_of_several_captions_is_drawn_from_seed_and_epoch(tmp_path):
    captions = [f"caption {index}" for index in range(20)]
    write_tar(tmp_path / "a.tar", {str(index): {"png": PNG, "json": dump({"text": captions})} for index in range(5)})
    stream = StreamedPairs(tmp_path)
    first = texts(stream)
    assert set(first) <= set(captions)
    assert texts(stream) == first
    stream.set_epoch(1)
    assert texts(stream) != first


def test_boxes_pass_through_and_samples_without_any_get_none(tmp_path):
    boxed = sample(json={"bbox": [[0, 0, 2, 3], [5, 5, 1, 1]]})
    write_tar(tmp_path / "a.tar", {"0": boxed, "1": sample("plain")})
    stream = StreamedPairs(tmp_path)
    assert {row["text"]: row["boxes"] for row in stream} == {"red": [[0, 0, 2, 3]], "plain": []}
    assert stream.bad_rows.repairs == {"box dropped": 1}


def test_same_caption_is_one_group(tmp_path):
    write_tar(tmp_path / "a.tar", {str(index): sample(text) for index, text in enumerate(["Red", "red", "blue"])})
    groups = {row["text"]: row["group_id"] for row in StreamedPairs(tmp_path, group_by_caption=True)}
    assert groups["Red"] == groups["red"] != groups["blue"]
    assert min(groups.values()) >= 0


def test_member_that_claims_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("wenlan.data.pairs.shards.MAX_IMAGE_BYTES", 1000)
    write_tar(tmp_path / "a.tar", {"0": sample() | {"png": bytes(1001)}, "1": sample("kept")})
    stream = StreamedPairs(tmp_path, max_bad_fraction=0.5)
    assert texts(stream) == ["kept"]
    assert stream.bad_rows.counts == {"too large": 1}


def test_hidden_files_folders_and_other_members_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        folder = tarfile.TarInfo("train")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in [
            ("._0.png", b"x"),
            ("train/0.png", PNG),
            ("train/0.seg.png", b"x"),
            ("train/0.txt", b"red"),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert list(read_shard(str(tmp_path / "a.tar"), ("image", "text"))) == [
        ("train/0", {"image": PNG, "text": "red", "boxes": None})
    ]


def test_vocabulary_texts_come_from_every_shard_and_are_the_same_on_all_ranks(shards):
    samples = [StreamedPairs(shards, rank=rank, world_size=2).sample_texts(6) for rank in range(2)]
    assert samples[0] == samples[1] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    assert set(StreamedPairs(shards).sample_texts(1000)) == ALL


@pytest.mark.parametrize("pattern", ["", "/*.tar", "/00000.tar"])
def test_source_is_a_folder_a_pattern_or_a_file(shards, pattern):
    assert "0-0" in texts(StreamedPairs(f"{shards}{pattern}"))


def test_sources_that_cannot_be_streamed_are_refused_with_what_to_give(shards, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.tar or \.parquet file"):
        StreamedPairs(tmp_path / "none")
    (tmp_path / "pairs.csv").write_text("image,text")
    with pytest.raises(ValueError, match=r"\.csv files; give only"):
        find_shards(tmp_path / "*.csv")
    write_shards(shards, [1], "parquet")
    with pytest.raises(ValueError, match=r"\.parquet, \.tar files"):
        StreamedPairs(shards)
    with pytest.raises(ValueError, match=r"no column 'caption'"):
        StreamedPairs(shards / "*.parquet", text_column="caption")


@pytest.mark.parametrize("options", [{"rank": 2, "world_size": 2}, {"shuffle_buffer": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(shards, options):
    with pytest.raises(ValueError, match="ranks count from 0"):
        StreamedPairs(shards, **options)
