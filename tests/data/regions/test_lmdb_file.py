"""Files of LMDB's own library are read alike; damaged ones are errors, where the library may end the process."""

import json
import os
import random

import lmdb
import pytest
from wenlan.data import TooManyBadRowsError, import_regions
from wenlan.data.regions.lmdb_file import LmdbError, LmdbFile
from wenlan.data.regions.uniter_lmdb import UniterLmdb


def write(folder, entries, *, removed=(), rounds=1):
    folder.mkdir(exist_ok=True)
    with lmdb.open(str(folder), map_size=2**28) as environment:
        for part in range(rounds):
            with environment.begin(write=True) as transaction:
                for key, value in list(entries.items())[part::rounds]:
                    transaction.put(key, value)
        with environment.begin(write=True) as transaction:
            for key in removed:
                transaction.delete(key)
    return folder / "data.mdb"


def read(path):
    file = LmdbFile(path)
    try:
        return {key: file.get(key) for key in file}
    finally:
        file.close()


def entries(count, size, seed=0):
    rng = random.Random(seed)
    return {b"%06d.npz" % rng.randrange(10**6): rng.randbytes(rng.randrange(size)) for _ in range(count)}


@pytest.mark.parametrize(
    ("count", "size", "rounds"), [(0, 1, 1), (1, 10, 1), (3, 50_000, 1), (300, 20, 3), (5000, 30, 2), (400, 9000, 7)]
)
def test_keys_and_values_are_those_of_the_library(tmp_path, count, size, rounds):
    written = entries(count, size)
    removed = list(written)[::5]
    path = write(tmp_path / "db", written, removed=removed, rounds=rounds)
    expected = {key: value for key, value in written.items() if key not in removed}
    found = read(path)
    assert found == expected
    assert list(found) == sorted(expected)
    file = LmdbFile(path)
    assert [file.get(key) for key in (b"", b"a", b"000", b"\xff" * 9, *removed)] == [None] * (4 + len(removed))
    file.close()


@pytest.mark.parametrize("fraction", [0, 0.001, 0.3, 0.5, 0.99])
def test_file_that_is_cut_is_refused_by_name(tmp_path, fraction):
    path = write(tmp_path / "db", entries(300, 3000))
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(LmdbError, match=r"data\.mdb (is cut: it has [\d,]+ of|cannot be opened)"):
        LmdbFile(path)


def test_sparse_file_and_one_with_more_at_its_end_are_read(tmp_path):
    written = entries(100, 3000)
    path = write(tmp_path / "db", written)
    os.truncate(path, 2**30)  # as its map is
    assert read(path) == written


def test_flipped_bytes_are_errors_or_change_one_value(tmp_path):
    path = write(tmp_path / "db", entries(30, 3000))
    data, rng = path.read_bytes(), random.Random(1)
    refused = 0
    for number in range(400):
        begin = rng.randrange(len(data) // 4096) * 4096 if number % 2 else 0
        place = begin + rng.randrange(64 if number % 4 else 4096)
        path.write_bytes(data[:place] + bytes([data[place] ^ rng.randrange(1, 256)]) + data[place + 1 :])
        try:
            read(path)
        except LmdbError as error:
            refused += len(str(error)) < 300
    assert refused > 20


def test_import_names_the_entry_that_is_damaged_and_goes_on(tmp_path):
    path = write(tmp_path / "db", {b"a.npz": b"A" * 9000, b"b.npz": b"\x80B"})
    data = path.read_bytes()
    begin = data.index(b"AAAA") // 4096 * 4096
    path.write_bytes(data[:begin] + b"\xee" + data[begin + 1 :])
    with pytest.raises(TooManyBadRowsError, match=r"(?s)1 x broken entry.*page \d+ is another one.*1 x pickled"):
        import_regions(path, tmp_path / "out")


@pytest.mark.parametrize("names", [b"[" * 100_000, b'{"a":' * 100_000, b"{}", b"[1]", b"[[]]", b"null", b"\xff", b""])
def test_odd_list_of_names_is_refused(tmp_path, names):
    write(tmp_path / "db", {b"__keys__": names, b"a": b"1"})
    with UniterLmdb(tmp_path / "db") as database, pytest.raises(ValueError, match=r"data\.mdb: its list of names") as e:
        database.names()
    assert len(str(e.value)) < 400


def test_names_of_any_kind_are_entries_that_are_missing_or_read(tmp_path):
    names = ["", "a", "a", "x" * 10_000, "\0", "猫", "\ud800", "\udcff", "../a"]
    write(tmp_path / "db", {b"__keys__": json.dumps(names).encode(), b"\xff": b"PK", "猫".encode(): b"PK"})
    with UniterLmdb(tmp_path / "db") as database:
        assert database.names() == list(dict.fromkeys(names))
        for name in database.names():
            with pytest.raises(ValueError, match=r"^(missing|broken) entry"):
                database.read(name)
    with pytest.raises(TooManyBadRowsError, match="missing entry"):
        import_regions(tmp_path / "db", tmp_path / "out")


def test_database_in_a_database_is_refused(tmp_path):
    with lmdb.open(str(tmp_path), max_dbs=2) as environment:
        inner = environment.open_db(b"inner")
        with environment.begin(write=True) as transaction:
            transaction.put(b"a", b"1", db=inner)
    with pytest.raises(LmdbError, match="database in a database"):
        read(tmp_path / "data.mdb")


def test_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "data.mdb")
    with pytest.raises(ValueError, match="but a pipe"):
        LmdbFile(tmp_path / "data.mdb")
