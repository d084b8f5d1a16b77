import gzip
import json
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.stopped_command import StoppedCommand
from PIL import Image
from transformers import AutoProcessor
from typer.testing import CliRunner
from wenlan.data import TooManyBadRowsError
from wenlan.data.files.lock import output_lock
from wenlan.modeling_brivl import BriVLModel
from wenlan.pipelines import embed_images, embed_texts
from wenlan.retrieval import embed_to_parquet

from wenlan.cli.main import app


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model_and_processor(model_folder):
    return BriVLModel.from_pretrained(model_folder).eval(), AutoProcessor.from_pretrained(model_folder)


def write_images(folder, count=5):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (30 + index % 3, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path / "images" / "inner")
    return tmp_path / "images"


def ids_of(output):
    return pq.read_table(output)["id"].to_pylist()


def test_embeddings_of_a_folder_equal_those_of_the_python_api(model_folder, model_and_processor, images, tmp_path):
    report = embed_to_parquet(model_folder, images, tmp_path / "out.parquet", batch_size=2, shard_size=3)
    table = pq.read_table(tmp_path / "out.parquet")
    assert report.rows_kept == 5
    assert table["id"].to_pylist() == [f"inner/{index:03}.png" for index in range(5)]
    expected = embed_images(*model_and_processor, sorted((images / "inner").iterdir()))
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected, atol=1e-5, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.parquet"]


def test_bad_images_are_left_out_and_counted_by_cause(model_folder, images, tmp_path):
    (images / "a.jpg").write_bytes(b"")
    (images / "b.png").write_text("not an image")
    (images / "c.png").write_bytes((images / "inner" / "000.png").read_bytes()[:200])
    os.mkfifo(images / "d.png")
    (images / "e.png").symlink_to("/dev/zero")
    with (images / "f.png").open("wb") as file:
        file.truncate(6 * 2**30)
    report = embed_to_parquet(model_folder, images, tmp_path / "out.parquet", max_bad_fraction=0.6)
    assert report.rows_kept == 5
    assert report.counts == {"empty file": 1, "not an image": 1, "truncated": 1, "unreadable": 2, "too large": 1}
    with pytest.raises(TooManyBadRowsError, match=r"kept 5 of 11 rows"):
        embed_to_parquet(model_folder, images, tmp_path / "again.parquet")
    assert not list(tmp_path.glob("again*"))
    embed_to_parquet(model_folder, images, tmp_path / "again.parquet", max_bad_fraction=0.6)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.parquet", "images", "out.parquet"]


@pytest.mark.parametrize("name", [b"\xc3\xa8.png", b"\xb5\xc2\xb9\xfa.jpg", "猫 100%\n.png".encode(), b"-x.png"])
def test_images_of_any_name_are_embedded(model_folder, tmp_path, name):
    write_images(tmp_path / "images", 1)
    os.rename(tmp_path / "images" / "000.png", os.path.join(os.fsencode(tmp_path), b"images", name))
    (tmp_path / "images" / os.fsdecode(b"\xb5.png")).write_bytes(b"no image")
    report = embed_to_parquet(model_folder, tmp_path / "images", tmp_path / "out.parquet", max_bad_fraction=0.5)
    assert ids_of(tmp_path / "out.parquet") == [os.fsdecode(name).encode("utf-8", "backslashreplace").decode()]
    assert str(report).replace("\n", "").isprintable()


@pytest.mark.parametrize("split", ["test", "Testing", None])
def test_captions_of_a_language_and_a_split_are_embedded(model_folder, tmp_path, split):
    rows = [("猫", "train"), ("红色的湖", "test"), ("苹果", "test")]
    lines = [json.dumps({"image": "x", "text_zh": text, "text_en": "cat", "split": name}) for text, name in rows]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), "utf-8")
    options = {"text_column": "text_zh", "split": split}
    embed_to_parquet(model_folder, tmp_path / "pairs.jsonl", tmp_path / "out.parquet", **options)
    assert ids_of(tmp_path / "out.parquet") == [text for text, name in rows if split is None or name == "test"]
    with pytest.raises(ValueError, match=r"has no column 'text'.*Did you mean text_zh or text_en"):
        embed_to_parquet(model_folder, tmp_path / "pairs.jsonl", tmp_path / "none.parquet")
    with pytest.raises(ValueError, match=r"no rows of the split 'dev', only of test \(2\), train \(1\)"):
        embed_to_parquet(
            model_folder, tmp_path / "pairs.jsonl", tmp_path / "none.parquet", text_column="text_zh", split="dev"
        )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
def test_sentences_keep_their_order(model_folder, model_and_processor, tmp_path, encoding, packed):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    data = (mark + "猫\r\n\r\n  红色的湖 \n猫").encode(encoding)
    (tmp_path / "s.txt").write_bytes(gzip.compress(data) if packed else data)
    options = {"shard_size": 2, "encoding": "gb18030" if encoding == "gb18030" else None}
    report = embed_to_parquet(model_folder, tmp_path / "s.txt", tmp_path / "out.parquet", **options)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == ["猫", "红色的湖", "猫"]
    assert (report.rows_kept, report.counts) == (3, {})
    expected = embed_texts(*model_and_processor, ["猫", "红色的湖", "猫"])
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected, atol=1e-6, rtol=0)


def test_bad_sentences_are_left_out_with_their_lines(model_folder, tmp_path):
    lines = [b"\xff\xfe", "\u200b\u00ad".encode(), *(sentence.encode() for sentence in SENTENCES)]
    (tmp_path / "s.txt").write_bytes(b"\n".join(["猫".encode(), *lines, b"a" * 10_001]))
    report = embed_to_parquet(model_folder, tmp_path / "s.txt", tmp_path / "out.parquet", max_bad_fraction=0.4)
    assert ids_of(tmp_path / "out.parquet") == ["猫", *SENTENCES]
    assert report.counts == {"invalid UTF-8": 1, "empty text": 1, "text too long": 1}
    assert "line 3" in report.examples["empty text"]


def test_captions_of_pairs_are_embedded(model_folder, tmp_path):
    rows = [{"file_name": "a.png", "text": "一只猫"}, {"file_name": "b.png", "text": ["雪山", "湖"]}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    (tmp_path / "c.csv").write_text("image,text\n0.png,一只猫\n", "utf-8")
    pq.write_table(pa.table({"image": ["0.png"], "text": ["一只猫"]}), tmp_path / "p.parquet")
    for name, ids in (("metadata.jsonl", ["一只猫", "雪山", "湖"]), ("c.csv", ["一只猫"]), ("p.parquet", ["一只猫"])):
        embed_to_parquet(model_folder, tmp_path / name, tmp_path / "out.parquet")
        assert ids_of(tmp_path / "out.parquet") == ids


@pytest.mark.parametrize("name", ["photo.png", "photo", "photo.txt"])
def test_one_image_is_embedded_whatever_its_name(model_folder, model_and_processor, tmp_path, name):
    write_images(tmp_path, 1)
    (tmp_path / "000.png").rename(tmp_path / name)
    embed_to_parquet(model_folder, tmp_path / name, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == [name]
    expected = embed_images(*model_and_processor, tmp_path / name)
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("s.txt", b"\xfd7zXZ\0\0", "xz"),
        ("s.docx", b"PK\x03\x04\x14\x00", "zip"),
        ("s.bin", b"ab" + bytes(range(256)) + bytes(99), "no text"),
        ("s.txt", "一只猫\n雪山和湖\n苹果\n".encode("gb18030"), "--encoding gb18030"),
        ("rows.txt", b'{"image": "a.png", "text": "x"}\n', "name it .jsonl"),
        ("list.json", b'[{"image": "a.png"}]', "name it .jsonl"),
        ("c.csv", b"image,caption\n0.png,x\n", "'text'"),
        ("m.jsonl", b'{"image": "a.png", "caption": "x"}\n', "text"),
        ("s.txt", b"", "Nothing in"),
        ("s.txt", b"\n\n \n", "Nothing in"),
        ("a.png", b"no image", "Nothing in"),
    ],
)
def test_other_files_are_refused_in_a_short_message(model_folder, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        embed_to_parquet(model_folder, tmp_path / name, tmp_path / "out" / "x.parquet")
    assert len(str(caught.value)) < 500
    assert not any((tmp_path / "out").glob("*"))


def test_missing_sources_pipes_and_output_folders_are_named(model_folder, images, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        embed_to_parquet(model_folder, tmp_path / "nowhere", tmp_path / "out.parquet")
    with pytest.raises(ValueError, match="pipe"):
        embed_to_parquet(model_folder, tmp_path / "pipe", tmp_path / "out.parquet")
    with pytest.raises(ValueError, match="is a folder"):
        embed_to_parquet(model_folder, images, tmp_path)
    with pytest.raises(ValueError, match="is no regular file but a pipe"):
        embed_to_parquet("no model", images, tmp_path / "pipe")  # before anything is opened
    for options in ({"max_bad_fraction": float("nan")}, {"max_bad_fraction": -1}, {"batch_size": 0}, {"shard_size": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            embed_to_parquet(model_folder, images, tmp_path / "out.parquet", **options)


def test_model_that_gives_no_finite_embeddings_writes_nothing(tmp_path, images):
    model = save_tiny_folder(tmp_path / "model")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    model.save_pretrained(tmp_path / "nan")
    with torch.no_grad():  # finite weights, infinite activations
        for parameter in model.parameters():
            parameter.fill_(1e38)
    model.save_pretrained(tmp_path / "huge")
    for name in ("nan", "huge"):
        AutoProcessor.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / name)
        with pytest.raises(ValueError, match=r"NaN or infinite|not finite"):
            embed_to_parquet(str(tmp_path / name), images, tmp_path / "out" / "x.parquet")
        assert not any((tmp_path / "out").glob("*"))


def test_second_process_on_one_output_is_refused(model_folder, images, tmp_path):
    with (
        output_lock(tmp_path / ".out.parquet.shards"),
        pytest.raises(ValueError, match=f"Process {os.getpid()} on .* is writing"),
    ):
        embed_to_parquet(model_folder, images, tmp_path / "out.parquet")


@pytest.mark.slow
def test_killed_command_resumes_and_gives_the_same_bytes(model_folder, tmp_path):
    source = write_images(tmp_path / "images", 40)
    (source / "007.png").write_bytes(b"no image")
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    expected = embed_to_parquet(model_folder, source, whole, batch_size=2, shard_size=2)
    shards = tmp_path / ".out.parquet.shards"
    arguments = ["embed", model_folder, source, "--output", output, "--batch-size", "2", "--shard-size", "2"]
    arguments += ["--num-proc", "2"]
    command = StoppedCommand(arguments, lambda: [*shards.glob("embeddings-*")])
    times = []
    for more in (3, 9):
        assert command.stop(tmp_path / "log.txt", signal.SIGKILL, more) == -signal.SIGKILL
        times.append({path.name: path.stat().st_mtime_ns for path in command.find_shards()})
    assert times[0].items() <= times[1].items()  # none is made again
    (source / "001.png").write_bytes((source / "002.png").read_bytes())
    Image.open(source / "003.png").transpose(Image.Transpose.ROTATE_180).save(source / "003.png")
    report = embed_to_parquet(model_folder, source, output, batch_size=2, shard_size=2)
    assert (report.rows_kept, report.counts) == (expected.rows_kept, expected.counts)
    changed = embed_to_parquet(model_folder, source, whole, batch_size=2, shard_size=2)
    assert changed.rows_kept == 39
    assert output.read_bytes() == whole.read_bytes()
    assert not shards.exists()


def test_processes_give_the_same_bytes_and_count_bad_rows_once(model_folder, images, tmp_path):
    (images / "bad.png").write_bytes(b"no image")
    expected = embed_to_parquet(model_folder, images, tmp_path / "one.parquet", shard_size=2, max_bad_fraction=0.5)
    options = {"shard_size": 2, "max_bad_fraction": 0.5, "num_proc": 2}
    found = embed_to_parquet(model_folder, images, tmp_path / "two.parquet", **options)
    assert found.to_dict() == expected.to_dict()
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


@pytest.mark.slow
def test_killed_process_is_named_and_the_next_run_completes(model_folder, tmp_path):
    source, shards = write_images(tmp_path / "images", 300), tmp_path / ".out.parquet.shards"
    expected = embed_to_parquet(model_folder, source, tmp_path / "one.parquet", shard_size=1)

    def kill_one():
        while not any(shards.glob("embeddings-*")):
            time.sleep(0.001)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(ChildProcessError, match=r"A worker process died.*What is finished is kept"):
        embed_to_parquet(model_folder, source, tmp_path / "out.parquet", shard_size=1, num_proc=2)
    killer.join()
    times = {path.name: path.stat().st_mtime_ns for path in shards.glob("embeddings-*")}
    assert 0 < len(times) < 300
    report = embed_to_parquet(model_folder, source, tmp_path / "out.parquet", shard_size=1)
    assert report.rows_kept == expected.rows_kept
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_another_model_is_refused_while_pieces_of_the_first_are_there(model_folder, images, tmp_path):
    shards = tmp_path / ".out.parquet.shards"
    shards.mkdir()
    (shards / "manifest.json").write_text('{"model": "another"}', "utf-8")
    (shards / "embeddings-00000-of-00001.parquet").touch()
    with pytest.raises(ValueError, match=r"begun otherwise.*model is 'another'.*Or remove .*\.out\.parquet\.shards"):
        embed_to_parquet(model_folder, images, tmp_path / "out.parquet")


def test_command_says_what_it_did_and_is_quiet_when_nobody_reads(model_folder, images, tmp_path):
    for name in ("bad", "worse"):
        (images / f"{name}.png").write_bytes(b"")
    arguments = ["embed", model_folder, str(images), "--output", str(tmp_path / "out.parquet")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "2 x empty file" in result.output
    result = CliRunner().invoke(app, [*arguments, "--max-bad-fraction", "0.3"])
    assert result.exit_code == 0
    assert f"5 embeddings in {tmp_path / 'out.parquet'}" in result.output


def test_source_is_never_replaced_by_the_output(model_folder, tmp_path):
    source, link = tmp_path / "a.txt", tmp_path / "b.parquet"
    source.write_text("一只猫\n", "utf-8")
    link.hardlink_to(source)
    for output in (source, link, tmp_path / "." / "a.txt"):
        with pytest.raises(ValueError, match="is what is read and would be replaced"):
            embed_to_parquet(model_folder, source, output)
    assert source.read_text("utf-8") == "一只猫\n"


def test_what_a_folder_holds_beside_its_images_is_in_the_report(model_folder, images, tmp_path):
    (images / "notes.txt").write_text("words", "utf-8")
    (images / ".hidden.png").touch()
    report = embed_to_parquet(model_folder, images, tmp_path / "out.parquet")
    assert report.not_looked_at == {".txt": 1, "hidden": 1}


def test_one_blank_line_among_good_ones_is_left_out_and_counted(model_folder, tmp_path):
    (tmp_path / "s.txt").write_text("一只猫\n\u200b\n一只狗\n", "utf-8")
    report = embed_to_parquet(model_folder, tmp_path / "s.txt", tmp_path / "s.parquet")
    assert (report.rows_kept, report.counts) == (2, {"empty text": 1})


def test_images_are_read_as_the_original_does_where_the_processor_says_so(tmp_path):
    save_tiny_folder(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    processor.image_processor.as_original = True
    processor.save_pretrained(tmp_path / "model")
    clear = Image.new("RGBA", (40, 30), (200, 30, 30, 0))
    write_images(tmp_path / "images", 1)
    clear.save(tmp_path / "images" / "clear.png")
    embed_to_parquet(str(tmp_path / "model"), tmp_path / "images", tmp_path / "out.parquet")
    found = torch.tensor(pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist())
    model = BriVLModel.from_pretrained(tmp_path / "model").eval()
    expected = embed_images(model, processor, [Image.open(tmp_path / "images" / "000.png"), clear.convert("RGB")])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    on_white = embed_images(model, processor, [Image.new("RGB", (40, 30), "white")])
    assert (found[1] - on_white[0]).abs().max() > 1e-3
