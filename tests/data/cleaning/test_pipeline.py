import io
import json
import random
import re
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image
from wenlan.data import CleanSettings, clean_pairs, read_pairs
from wenlan.data.cleaning.facts_log import LOG
from wenlan.data.cleaning.pipeline import IMAGE_RULES
from wenlan.data.files.lock import output_lock
from wenlan.processing import decode_image

PAIR_AND_DUPLICATE_RULES = ("equal_pairs", "exact_duplicates", "near_duplicates")


def encode(image, file_format="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **{"quality": 95} | options)
    return buffer.getvalue()


def draw(seed, size=(126, 104)):
    """Random blocks, which keep their difference hash when scaled, under noise, which makes the file large."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(40, 216, (8, 9, 3), np.uint8)).resize(size, Image.Resampling.NEAREST)
    noise = rng.integers(-30, 30, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(blocks) + noise).astype(np.uint8))


def caption(number):
    """A clean sentence of its own."""
    digits = str(number).translate(str.maketrans("0123456789", "零一二三四五六七八九"))
    return f"窗台上的第{digits}只黑猫"


class Corpus:
    """Rows and images in a folder; each row gets a number of its own as `id`, an image and a text."""

    def __init__(self, folder):
        self.folder = folder
        self.lines = []

    def add(self, *, image=None, path=None, text=None):
        number = len(self.lines)
        path = path or f"{number}.jpg"
        if image is None and not (self.folder / path).exists() and "/" not in path:
            image = encode(draw(number))
        if image is not None:
            (self.folder / path).write_bytes(image)
        row = {"id": number, "image": path, "text": caption(number) if text is None else text}
        self.lines.append(json.dumps(row, ensure_ascii=False).encode())
        return path

    def write(self, name="crawl.jsonl", seed=0):
        lines = random.Random(seed).sample(self.lines, len(self.lines))
        (self.folder / name).write_bytes(b"\n".join(lines))
        return self.folder / name


def plant_texts(corpus):
    for number in range(8):
        corpus.lines += [b'{"id": %d, "image": ' % number, b'{"id": 1, "text": "%s"}' % caption(1).encode()]
        corpus.lines += [b'{"image": "%d.jpg", "text": "\xba\xec\xc9\xab"}' % number]
        corpus.add(text=number)
        corpus.add(text=f"<p>{'&nbsp;'}</p>")
    for _ in range(20):
        corpus.add(text="三个字")
        corpus.add(text="长" * 201)
    for number in range(30):
        corpus.add(text=f"四个汉字 and many more letters {number}")
    for number in range(15):
        corpus.add(text=f"{caption(number)}是坏词")


def plant_pairs(corpus):
    for _ in range(25):
        corpus.add(text="点击图片查看更多内容")
    placeholder = corpus.add()
    for _ in range(14):
        corpus.add(path=placeholder)
    for _ in range(20):
        number = len(corpus.lines)
        corpus.add()
        corpus.lines.append(corpus.lines[number])


def plant_images(corpus):
    good = encode(draw(5000))
    for number in range(10):
        corpus.add(path=f"missing/{number}.jpg")
        corpus.add(image=good[:3000])
        corpus.add(image=b"<html>" + bytes(9000))
        corpus.add(path=f"https://example.org/{number}.jpg")
        corpus.add(path=f"../outside/{number}.jpg")
    for number in range(20):
        corpus.add(image=encode(draw(6000 + number, (99, 200))))
        corpus.add(image=encode(draw(7000 + number, (100, 301))))
    for number in range(15):
        corpus.add(image=encode(draw(8000 + number), quality=5))
        corpus.add(image=encode(Image.new("RGB", (100, 100), (number, 0, 0)), "BMP"))


def plant_copies(corpus):
    for number in range(20):
        image = draw(9000 + number)
        corpus.add(image=encode(image))
        corpus.add(image=encode(image))
        other = draw(9500 + number)
        corpus.add(image=encode(other))
        corpus.add(image=encode(other.resize((252, 208)), quality=80))


EXPECTED = {
    "readable_row": 40,
    "han_length": 40,
    "han_fraction": 30,
    "drop_words": 15,
    "cooccurring_text": 24,
    "cooccurring_image": 12,
    "equal_pairs": 20,
    "image_readable": 50,
    "image_side": 20,
    "image_aspect": 20,
    "image_bytes": 15,
    "image_colour": 15,
    "exact_duplicates": 20,
    "near_duplicates": 20,
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """1,000 rows with known faults, in a random order, and the settings with a word list."""
    corpus = Corpus(tmp_path_factory.mktemp("planted"))
    for plant in (plant_texts, plant_pairs, plant_images, plant_copies):
        plant(corpus)
    for number in range(100):
        corpus.add(text=f"<b>{caption(5000 + number)}</b>！！！http://t.cn/{number}")
    while len(corpus.lines) < 1000:
        corpus.add()
    (corpus.folder / "words.txt").write_text("坏词\n", "utf-8")
    corpus.settings = CleanSettings(drop_words=(corpus.folder / "words.txt",))
    return corpus


@pytest.fixture(scope="module")
def cleaned(planted, tmp_path_factory):
    output = tmp_path_factory.mktemp("cleaned")
    return clean_pairs(planted.write(), output, decode=decode_image, settings=planted.settings)


def rows_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_planted_fault_is_counted_by_its_rule(cleaned):
    assert {rule: count.rows for rule, count in cleaned.dropped.items()} == EXPECTED
    assert (cleaned.rows_in, cleaned.rows_out) == (1000, 1000 - sum(EXPECTED.values()))
    assert cleaned.dropped["readable_row"].causes == {
        "broken line": 8,
        "missing field": 8,
        "invalid UTF-8": 8,
        "text is no string": 8,
        "empty text": 8,
    }
    assert cleaned.dropped["image_readable"].causes == {
        "file missing": 10,
        "truncated": 10,
        "not an image": 10,
        "image is a URL": 10,
        "path leaves image root": 10,
    }


def test_every_rule_shows_a_case(cleaned):
    assert all(count.example.startswith("row ") for count in cleaned.dropped.values())
    assert "'坏词' in" in cleaned.dropped["drop_words"].example
    assert "99 x 200 pixels" in cleaned.dropped["image_side"].example


def test_markup_is_taken_out_of_the_planted_texts_and_nothing_else_is_changed(cleaned):
    texts = {row["text"] for row in rows_of(cleaned.output)}
    assert {f"{caption(5000 + number)}！" for number in range(100)} <= texts
    assert cleaned.captions_changed == 100


def test_kept_rows_stand_in_the_order_of_the_source(planted, cleaned):
    in_source = dict.fromkeys(map(int, re.findall(rb'"id": (\d+), "image": ".+"}', planted.write().read_bytes())))
    kept = [row["id"] for row in rows_of(cleaned.output)]
    assert kept == [number for number in in_source if number in set(kept)]
    assert kept != sorted(kept)


def test_second_pass_drops_nothing_and_changes_nothing(planted, cleaned, tmp_path):
    again = clean_pairs(
        cleaned.output, tmp_path, decode=decode_image, image_root=planted.folder, settings=planted.settings
    )
    assert sum(count.captions for count in again.dropped.values()) == 0
    assert again.captions_changed == 0
    assert again.output.read_bytes() == cleaned.output.read_bytes()


def test_kept_rows_do_not_depend_on_the_order_but_for_duplicates(planted, tmp_path):
    settings = CleanSettings(drop_words=planted.settings.drop_words, skip=PAIR_AND_DUPLICATE_RULES)
    kept = []
    for seed in range(3):
        source = planted.write(f"order{seed}.jsonl", seed)
        report = clean_pairs(source, tmp_path, decode=decode_image, settings=settings)
        kept.append(sorted(row["id"] for row in rows_of(report.output)))
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 1000 - sum(EXPECTED.values()) + sum(EXPECTED[rule] for rule in PAIR_AND_DUPLICATE_RULES)


@pytest.mark.parametrize("rule", [rule for rule in EXPECTED if rule not in ("readable_row", "drop_words")])
def test_rule_that_is_off_drops_nothing(planted, rule, tmp_path):
    skip = {rule} if rule in IMAGE_RULES else {rule, *IMAGE_RULES}  # the latter is quicker
    report = clean_pairs(planted.write(), tmp_path, decode=decode_image, settings=CleanSettings(skip=skip))
    assert report.dropped[rule].rows == 0
    assert report.dropped["readable_row"].rows == EXPECTED["readable_row"]
    assert re.search(rf"off: .*\b{rule}\b", str(report))


def test_workers_do_not_change_the_result(planted, cleaned, tmp_path):
    report = clean_pairs(planted.write(), tmp_path, decode=decode_image, settings=planted.settings, workers=3)
    assert report.output.read_bytes() == cleaned.output.read_bytes()


def test_equal_runs_write_equal_reports(planted, cleaned, tmp_path):
    written = (cleaned.output.parent / "clean_report.json").read_text("utf-8")
    clean_pairs(planted.write(), cleaned.output.parent, decode=decode_image, settings=planted.settings)
    assert (cleaned.output.parent / "clean_report.json").read_text("utf-8") == written
    report = json.loads(written)
    assert report["rows"] == {"in": 1000, "out": 1000 - sum(EXPECTED.values())}
    assert report["dropped"]["han_fraction"]["rows"] == 30
    assert report["settings"]["min_side"] == 100


def test_readers_use_every_row_that_is_kept(planted, cleaned):
    pairs, report = read_pairs(cleaned.output, image_root=planted.folder, check_image=decode_image)
    assert (report.rows_read, report.bad_fraction) == (cleaned.rows_out, 0.0)
    assert len(pairs) == cleaned.rows_out


def test_table_names_every_rule_and_its_count(cleaned):
    table = str(cleaned)
    assert f"kept {cleaned.rows_out} of 1000 rows" in table
    assert "cooccurring_text         24        24" in table
    assert "off: simplified" in table


TEXT_ONLY = CleanSettings(skip=IMAGE_RULES)


def write_lines(folder, *rows):
    file = folder / "crawl.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return file


def clean_rows(folder, *rows, settings=TEXT_ONLY):
    return clean_pairs(write_lines(folder, *rows), folder / "clean", decode=decode_image, settings=settings)


def test_images_are_not_needed_when_no_rule_looks_at_them(tmp_path):
    report = clean_rows(tmp_path, {"image": "https://example.org/a.jpg", "text": "一只黑猫"})
    assert rows_of(report.output) == [{"image": "https://example.org/a.jpg", "text": "一只黑猫"}]


def test_limits_themselves_pass(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(draw(1, (100, 300))))
    small = encode(draw(2), quality=60)
    (tmp_path / "b.jpg").write_bytes(small.ljust(5 * 1024 + 1, b"\0"))
    (tmp_path / "c.jpg").write_bytes(small.ljust(5 * 1024, b"\0"))
    rows = [("a.jpg", "四个汉字abcd"), ("b.jpg", "长" * 200), ("c.jpg", "小于一点点")]
    report = clean_rows(tmp_path, *({"image": path, "text": text} for path, text in rows), settings=CleanSettings())
    assert report.rows_out == 2
    assert report.dropped["image_bytes"].rows == 1


def test_list_loses_only_its_bad_captions(tmp_path):
    captions = ["一只黑猫", "猫", "", "a cat on a 窗台上的", "一只黑猫", "窗台上的猫"]
    report = clean_rows(tmp_path, {"image": "a.jpg", "text": captions}, {"image": "b.jpg", "text": ["狗", 5]})
    assert rows_of(report.output) == [{"image": "a.jpg", "text": ["一只黑猫", "窗台上的猫"]}]
    assert (report.captions_in, report.captions_out) == (8, 2)
    dropped = {rule: (count.rows, count.captions) for rule, count in report.dropped.items() if count.captions}
    assert dropped == {"readable_row": (0, 2), "han_length": (1, 2), "han_fraction": (0, 1), "equal_pairs": (0, 1)}


def test_other_fields_and_paths_below_the_root_are_kept(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(draw(1)))
    row = {"image": str(tmp_path / "x" / ".." / "a.jpg"), "text": "一只黑猫", "boxes": [[0, 0, 5, 5]], "site": "甲"}
    report = clean_rows(tmp_path, row, settings=None)
    assert rows_of(report.output) == [row | {"image": "a.jpg"}]


def test_lone_surrogate_in_another_field_does_not_stop_the_run(tmp_path):
    report = clean_rows(tmp_path, {"image": "a.jpg", "text": "一只黑猫", "site": "\ud800"})
    assert rows_of(report.output)[0]["site"] == "\ud800"


def test_same_file_under_two_texts_is_no_duplicate(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(draw(1)))
    report = clean_rows(
        tmp_path, {"image": "a.jpg", "text": "一只黑猫"}, {"image": "./a.jpg", "text": "窗台上的猫"}, settings=None
    )
    assert report.rows_out == 2


def test_undecodable_image_passes_when_that_rule_is_off(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    settings = CleanSettings(skip=("image_readable",))
    report = clean_rows(tmp_path, {"image": "a.jpg", "text": "一只黑猫"}, settings=settings)
    assert report.rows_out == 1


@pytest.fixture
def parquet_rows(tmp_path):
    """A folder of two parquet files with images as bytes: five good rows, one copy, one small image."""
    folder = tmp_path / "shards"
    folder.mkdir()
    images = [encode(draw(seed)) for seed in (0, 1, 2, 2)]
    rows = [{"image": {"bytes": data, "path": None}, "text": caption(n)} for n, data in enumerate(images)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "0.parquet")
    late = [
        {"image": {"bytes": encode(draw(9, size)), "path": None}, "text": caption(9)} for size in [(50, 50), (300, 200)]
    ]
    pq.write_table(pa.Table.from_pylist([rows[2], *late]), folder / "1.parquet")
    return folder


def test_images_in_parquet_go_to_parquet(parquet_rows, tmp_path):
    report = clean_pairs(parquet_rows, tmp_path / "clean", decode=decode_image)
    assert report.output.name == "pairs.parquet"
    assert {rule: count.rows for rule, count in report.dropped.items() if count.rows} == {
        "equal_pairs": 1,
        "image_side": 1,
    }
    assert report.dropped["image_side"].example.startswith("row 1.parquet/2: ")
    rows = load_dataset("parquet", data_files=str(report.output), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["text"][:] == [caption(number) for number in (0, 1, 2, 3, 9)]
    assert rows[4]["image"].size == (300, 200)


def test_parquet_with_boxes_and_lists_of_captions_is_kept_whole(tmp_path):
    row = {"image": encode(draw(1)), "text": ["一只黑猫", "猫"], "boxes": [[0.0, 0.0, 5.0, 5.0]]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "crawl.parquet")
    report = clean_pairs(tmp_path / "crawl.parquet", tmp_path / "clean", decode=decode_image)
    (kept,) = pq.read_table(report.output).to_pylist()
    assert kept == {"image": {"bytes": row["image"], "path": None}, "text": ["一只黑猫"], "boxes": row["boxes"]}


def test_parquet_with_paths_goes_to_json_lines(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(draw(1)))
    pq.write_table(pa.table({"image": ["a.jpg"], "text": ["一只黑猫"]}), tmp_path / "crawl.parquet")
    report = clean_pairs(tmp_path / "crawl.parquet", tmp_path / "clean", decode=decode_image)
    assert rows_of(report.output) == [{"image": "a.jpg", "text": "一只黑猫"}]


def test_all_rows_dropped_is_an_error_with_the_counts_and_leaves_the_older_output(tmp_path):
    clean_rows(tmp_path, {"image": "a.jpg", "text": "一只黑猫"})
    before = {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()}
    with pytest.raises(ValueError, match=r"(?s)No pair is left.*han_length +2 +2  row 1: 1 Han"):
        clean_rows(tmp_path, {"image": "a.jpg", "text": "猫"}, {"image": "b.jpg", "text": "狗"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()} == before


def test_missing_source_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        clean_pairs(tmp_path / "crawl.jsonl", tmp_path / "clean", decode=decode_image)
    assert not (tmp_path / "clean").exists()


def test_output_that_cannot_be_written_is_an_error_before_the_first_row(tmp_path):
    source = write_lines(tmp_path, {"image": "a.jpg", "text": "一只黑猫"})
    with pytest.raises(OSError, match=r"clean cannot be written into: Not a directory\. Give another output folder"):
        clean_pairs(source, source / "clean", decode=decode_image)


def test_source_is_never_overwritten(tmp_path):
    report = clean_rows(tmp_path, {"image": "a.jpg", "text": "一只黑猫"})
    with pytest.raises(ValueError, match="is the source"):
        clean_pairs(report.output, report.output.parent, decode=decode_image, settings=TEXT_ONLY)


def test_full_disk_leaves_the_older_output(tmp_path):
    clean_rows(tmp_path, {"image": "a.jpg", "text": "一只黑猫"})
    before = {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()}
    rows = [{"image": f"{number}.jpg", "text": caption(number)} for number in range(2000)]
    source = write_lines(tmp_path, *rows)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            clean_pairs(source, tmp_path / "clean", decode=decode_image, settings=TEXT_ONLY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in (tmp_path / "clean").iterdir()} == before


def test_interrupted_run_leaves_nothing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(draw(1)))

    def interrupt(data):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean_pairs(write_lines(tmp_path, {"image": "a.jpg", "text": "一只黑猫"}), tmp_path / "clean", decode=interrupt)
    assert not (tmp_path / "clean").exists()


def test_unknown_rule_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'han_length'"):
        CleanSettings(skip=("han_lenght",))


class Decoder:
    """Decodes images, and is stopped at one of them."""

    def __init__(self, stop=None):
        self.calls, self.stop = 0, stop

    def __call__(self, data):
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return decode_image(data)


def crawl_of(folder, count, *, as_bytes):
    """Writes good images, each twice the same under another name, and broken ones."""
    rows = []
    for number in range(count):
        data = b"no image" if number % 7 == 3 else encode(draw(number // 2))
        (folder / f"{number}.jpg").write_bytes(data)
        rows.append({"image": data if as_bytes else f"{number}.jpg", "text": caption(number)})
    if not as_bytes:
        return write_lines(folder, *rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "crawl.parquet")
    return folder / "crawl.parquet"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_stopped_run_resumes_where_it_was_and_writes_the_same(tmp_path, as_bytes):
    source = crawl_of(tmp_path, 40, as_bytes=as_bytes)
    whole = clean_pairs(source, tmp_path / "whole", decode=decode_image)
    for stop in (20, 10):
        with pytest.raises(KeyboardInterrupt):
            clean_pairs(source, tmp_path / "clean", decode=Decoder(stop))
    with (tmp_path / "clean" / LOG).open("ab") as file:
        file.write(b'["half a li')  # what a kill may leave
    decoder = Decoder()
    report = clean_pairs(source, tmp_path / "clean", decode=decoder)
    assert decoder.calls == 40 - 16 - 8
    assert report.output.read_bytes() == whole.output.read_bytes()
    left, expected = ({path.name for path in (tmp_path / name).iterdir()} for name in ("clean", "whole"))
    assert left == expected


def test_image_that_was_replaced_is_read_again(tmp_path):
    source = crawl_of(tmp_path, 40, as_bytes=False)
    with pytest.raises(KeyboardInterrupt):
        clean_pairs(source, tmp_path / "clean", decode=Decoder(30))
    (tmp_path / "12.jpg").write_bytes(encode(draw(99)))
    whole = clean_pairs(source, tmp_path / "whole", decode=decode_image)
    decoder = Decoder()
    report = clean_pairs(source, tmp_path / "clean", decode=decoder)
    assert decoder.calls == 40 - 12
    assert report.output.read_bytes() == whole.output.read_bytes()


def test_second_run_into_one_folder_is_refused(tmp_path):
    source = crawl_of(tmp_path, 4, as_bytes=False)
    with output_lock(tmp_path / "clean"), pytest.raises(ValueError, match="is writing into"):
        clean_pairs(source, tmp_path / "clean", decode=decode_image)


def test_images_that_no_row_names_are_in_the_report(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).touch()
    rows = [{"image": "a.png", "text": "一只猫坐在树下看着湖水"}, {"image": "b.png", "text": "x"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    report = clean_pairs(folder, tmp_path / "out", decode=decode_image, settings=TEXT_ONLY)
    assert (report.rows_out, report.not_looked_at) == (1, {"images that no row names": 1})
    written = json.loads((tmp_path / "out" / "clean_report.json").read_text("utf-8"))
    assert written["not_looked_at"] == report.not_looked_at
    assert "1 images that no row names" in str(report)
