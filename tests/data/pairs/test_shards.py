"""Shards as other programs write them, and as they arrive."""

import gzip
import io
import itertools
import os
import tarfile
import time

import pytest
from PIL import Image
from wenlan.data import StreamedPairs
from wenlan.data.pairs.shards import expand_braces, find_shards, read_shard
from wenlan.data.rows.report import BadRowError

COLUMNS = ("image", "text")


def jpeg():
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def tar(members, *, encoding="utf-8"):
    """The bytes of a tar file of (name, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sample(key, text="红"):
    return [(f"{key}.jpg", jpeg()), (f"{key}.txt", text.encode())]


def numbered(first, last):
    return tar([member for number in range(first, last) for member in sample(f"{number:03d}", f"红{number}")])


def read(path):
    """The texts of a shard, and what is wrong with it."""
    found = [fields for _, fields in read_shard(str(path), COLUMNS)]
    return [one["text"] for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Exception)]


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("counts", [[3, 4], [1, 1, 1], [2, 0, 3]])
def test_all_samples_of_concatenated_archives_are_read(tmp_path, counts):
    starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
    parts = [numbered(start, end) for start, end in itertools.pairwise(starts)]
    texts, errors = read(write(tmp_path / "a.tar", b"".join(parts)))
    assert texts == [f"红{number}" for number in range(sum(counts))]
    assert errors == []


def test_second_archive_that_is_cut_is_counted(tmp_path):
    texts, errors = read(write(tmp_path / "a.tar", numbered(0, 3) + numbered(3, 6)[:4000]))
    assert texts == ["红0", "红1", "红2", "红3"]
    assert [error.cause for error in errors] == ["broken shard"]


def test_bytes_behind_the_end_are_counted(tmp_path):
    texts, errors = read(write(tmp_path / "a.tar", numbered(0, 2) + b"garbage" * 200))
    assert texts == ["红0", "红1"]
    assert [error.cause for error in errors] == ["broken shard"]


@pytest.mark.parametrize(
    ("content", "cause", "message"),
    [
        (b"", "broken shard", "empty"),
        (bytes(10240), "empty shard", "holds no sample"),
        (gzip.compress(numbered(0, 2), mtime=0), "broken shard", "packed with gzip"),
        (tar([("inner.tar", numbered(0, 2))]), "missing field", "no image among"),
        (tar([("folder/", b"")]), "missing field", "no image"),
    ],
)
def test_shard_without_samples_is_counted(tmp_path, content, cause, message):
    texts, errors = read(write(tmp_path / "a.tar", content))
    assert texts == []
    assert [error.cause for error in errors] == [cause]
    assert message in str(errors[0])


@pytest.mark.parametrize("key", ["IMG_1.2", "2024.05.01", "a.b.c"])
def test_rule_of_the_first_dot_is_said(tmp_path, key):
    texts, errors = read(write(tmp_path / "a.tar", tar(sample(key))))
    assert texts == []
    assert "a sample's name ends at the first dot" in str(errors[0])
    assert len(str(errors[0])) < 400


def test_members_without_a_partner_are_counted(tmp_path):
    lonely = [("1.jpg", jpeg()), ("2.txt", b"red"), ("4.jpg", jpeg())]
    texts, errors = read(write(tmp_path / "a.tar", tar(lonely[:2] + sample("3") + lonely[2:])))
    assert texts == ["红"]
    assert [error.cause for error in errors] == ["missing field"] * 3
    assert all("follow each other" in str(error) for error in errors)


def test_names_in_gbk_and_with_control_characters_are_escaped(tmp_path):
    names = ["图片", "\x1b[31m红", "a b%20", "ｶﾞ"]
    content = tar([member for name in names[:1] for member in sample(name)], encoding="gb18030")
    content += tar([member for name in names[1:] for member in sample(name)])
    stream = StreamedPairs(write(tmp_path / "a.tar", content), shuffle_buffer=1)
    assert [row["text"] for row in stream] == ["红"] * 4
    (tmp_path / "a.tar").write_bytes(tar([("\x1b[31m图.jpg", b"")], encoding="gb18030"))
    stream = StreamedPairs(tmp_path / "a.tar", max_bad_fraction=1.0)
    assert list(stream) == []
    assert str(stream.bad_rows).replace("\n", "").isprintable()


def test_texts_in_utf_16_are_read_and_others_are_counted(tmp_path):
    members = [("1.jpg", jpeg()), ("1.txt", "红".encode("utf-16"))]
    members += [("2.jpg", jpeg()), ("2.txt", "红".encode("gb18030"))]
    members += [("3.jpg", jpeg()), ("3.txt", b"\x00\x00"), ("4.jpg", jpeg()), ("4.txt", b"a" * 2**24 + b"a")]
    stream = StreamedPairs(write(tmp_path / "a.tar", tar(members)), max_bad_fraction=1.0)
    assert [row["text"] for row in stream] == ["红"]
    assert stream.bad_rows.counts == {"invalid UTF-8": 1, "empty text": 1, "too large": 1}


def test_lists_and_strings_come_in_any_order(tmp_path):
    members = []
    for number, text in enumerate(['"红"', '["蓝", "绿"]', '"黄"', '["", "\\u200b"]']):
        members += [(f"{number}.jpg", jpeg()), (f"{number}.json", f'{{"text": {text}}}'.encode())]
    stream = StreamedPairs(write(tmp_path / "a.tar", tar(members)), shuffle_buffer=1, max_bad_fraction=0.3)
    texts = [row["text"] for row in stream]
    assert (texts[0], texts[2], len(texts)) == ("红", "黄", 3)
    assert texts[1] in ("蓝", "绿")
    assert stream.bad_rows.counts == {"empty text": 1}


def test_pipe_is_no_shard(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    texts, errors = read(tmp_path / "a.tar")
    assert (texts, errors[0].cause) == ([], "broken shard")
    assert isinstance(errors[0], BadRowError)


def test_braces_stand_for_shards_that_must_all_be_there(tmp_path):
    for number in range(3):
        write(tmp_path / f"{number:03d}.tar", numbered(number, number + 1))
    assert find_shards(tmp_path / "{000..002}.tar") == [str(tmp_path / f"{number:03d}.tar") for number in range(3)]
    assert find_shards(f"{tmp_path}/00{{0,2}}.tar") == [str(tmp_path / "000.tar"), str(tmp_path / "002.tar")]
    with pytest.raises(FileNotFoundError, match=r"stands for 5 shards, of which 2 are missing, such as .*003\.tar"):
        find_shards(tmp_path / "{000..004}.tar")
    with pytest.raises(FileNotFoundError, match="2 are missing"):
        StreamedPairs("{000..001}.tar")
    with pytest.raises(ValueError, match="stands for 1,000,000,000 shards"):
        expand_braces("{000000000..999999999}.tar")


def test_braces_in_the_name_of_a_file_are_its_own(tmp_path):
    assert find_shards(write(tmp_path / "{0..1}.tar", numbered(0, 1))) == [str(tmp_path / "{0..1}.tar")]


def test_shards_in_folders_below_and_packed_ones_are_named(tmp_path):
    (tmp_path / "part").mkdir()
    write(tmp_path / "part" / "0.tar", numbered(0, 1))
    with pytest.raises(FileNotFoundError, match=r"part holds some: give .*/\*/\*\.tar"):
        find_shards(tmp_path)
    with pytest.raises(ValueError, match="Unpack"):
        find_shards(write(tmp_path / "0.tar.gz", b""))


@pytest.mark.parametrize("content", [b"", numbered(0, 2)])
def test_gigabytes_of_zeros_are_not_read_to_their_end(tmp_path, content):
    shard = tmp_path / "0.tar"
    shard.write_bytes(content)
    os.truncate(shard, 6 << 30)
    start = time.perf_counter()
    texts, errors = read(shard)
    assert time.perf_counter() - start < 5
    assert len(texts) == (2 if content else 0)
    assert [error.cause for error in errors] == ["broken shard"]
    assert "zeros" in str(errors[0])


def test_zeros_between_archives_are_passed_over(tmp_path):
    texts, errors = read(write(tmp_path / "0.tar", numbered(0, 1) + bytes(1 << 20) + numbered(1, 2)))
    assert (texts, errors) == (["红0", "红1"], [])
