import base64
import io
import json
import os
import sys
import zipfile

import lmdb
import msgpack
import numpy as np
import pytest
from helpers.regions.rows import random_row, same
from wenlan.data import TooManyBadRowsError, import_regions, read_region_info, read_regions, write_bua_npz
from wenlan.data.files.lock import output_lock
from wenlan.data.regions import uniter_lmdb
from wenlan.data.regions.import_features import read_sizes
from wenlan.data.regions.uniter_lmdb import UniterLmdb

# What msgpack-numpy 0.4.8 makes of features (2, 3), norm_bb (2, 6), conf (2) and soft_labels (2, 3) in float16.
BY_MSGPACK_NUMPY = base64.b64decode(
    "hKhmZWF0dXJlc4XEAm5kw8QEdHlwZaM8ZjLEBGtpbmTEAMQFc2hhcGWSAgPEBGRhdGHEDAAAADwAQABCAEQARadub3JtX2JihcQCbmTDxAR0eXBlozxm"
    "MsQEa2luZMQAxAVzaGFwZZICBsQEZGF0YcQYAAAANAA4ADoAOAA4Zi5mMs00ZjZmMmYypGNvbmaFxAJuZMPEBHR5cGWjPGYyxARraW5kxADEBXNoYXBl"
    "kQLEBGRhdGHEBAA4ADSrc29mdF9sYWJlbHOFxAJuZMPEBHR5cGWjPGYyxARraW5kxADEBXNoYXBlkgIDxARkYXRhxAwAOAA0ADQANAA0ADg="
)
OBJECTS_BY_MSGPACK_NUMPY = base64.b64decode(
    "gaRpbmZvhcQCbmTDxAR0eXBlkZKgonxPxARraW5kxAFPxAVzaGFwZZEBxARkYXRhxMSAAmNudW1weS5fY29yZS5tdWx0aWFycmF5Cl9yZWNvbnN0cnVj"
    "dApxAGNudW1weQpuZGFycmF5CnEBSwCFcQJjX2NvZGVjcwplbmNvZGUKcQNYAQAAAGJxBFgGAAAAbGF0aW4xcQWGcQZScQeHcQhScQkoSwFLAYVxCmNu"
    "dW1weQpkdHlwZQpxC1gCAAAATzhxDImIh3ENUnEOKEsDWAEAAAB8cQ9OTk5K/////0r/////Sz90cRBiiV1xEUsBYXRxEmIu"
)
UNITER_NAMES = ["features", "boxes", "class_probs"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def save_as_bua(path, row):
    """Writes what extract_features.py of bottom-up-attention.pytorch writes: arrays, and a pickled dict."""
    info = {"image_id": row["image_id"], "image_h": 48, "image_w": 64, "num_boxes": len(row["boxes"])}
    info |= {"objects_id": row["object_ids"], "objects_conf": row["object_scores"]}
    info |= {"attrs_id": row["attribute_ids"], "attrs_conf": row["attribute_scores"]}
    arrays = {"x": row["features"].astype(np.float32), "bbox": row["boxes"], "num_bbox": len(row["boxes"])}
    np.savez_compressed(path, image_h=48, image_w=64, info=info, **arrays)


def uniter_arrays(row):
    x1, y1, x2, y2 = (row["boxes"] / [64, 48, 64, 48]).T
    return {
        "features": row["features"],
        "norm_bb": np.stack([x1, y1, x2, y2, x2 - x1, y2 - y1], axis=1).astype(np.float16),
        "conf": row["object_scores"].astype(np.float16),
        "soft_labels": row["class_probs"].astype(np.float16),
    }


def as_msgpack(arrays):
    return msgpack.packb(
        {
            name: {b"nd": True, b"type": a.dtype.str, b"kind": b"", b"shape": a.shape, b"data": a.tobytes()}
            for name, a in arrays.items()
        }
    )


def as_npz(arrays):
    stream, flag = io.BytesIO(), io.BytesIO()
    np.savez_compressed(stream, **arrays)
    np.save(flag, np.asarray(True))
    with zipfile.ZipFile(stream, "a") as archive:  # older NumPy took this argument of savez for an array
        archive.writestr("allow_pickle.npy", flag.getvalue())
    return stream.getvalue()


def save_lmdb(folder, values, names=True):
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        for name, value in values.items():
            transaction.put(name.encode(), value)
        if names:
            transaction.put(b"__keys__", json.dumps(list(values)).encode())
    return folder


ROWS = [random_row(f"coco_{index}", count=index, seed=index) for index in range(1, 5)]


@pytest.fixture
def bua_folder(tmp_path):
    (tmp_path / "bua" / "sub").mkdir(parents=True)
    for index, row in enumerate(ROWS):
        save_as_bua(tmp_path / "bua" / ("sub" if index == 3 else "") / f"{row['image_id']}.npz", row)
    return tmp_path / "bua"


def test_files_of_bottom_up_attention_become_rows(bua_folder, tmp_path):
    report = import_regions(bua_folder, tmp_path / "out", allow_pickle=True, model="bua-r101", shard_size=2)
    assert (report.rows_read, report.rows_kept) == (4, 4)
    rows = list(read_regions(tmp_path / "out"))
    assert [row["image_id"] for row in rows] == ["coco_1", "coco_2", "coco_3", "sub/coco_4"]
    names = ROWS[0].keys() - {"image_id", "class_probs", "background_index"}
    assert all(same(row, written, names=names) for row, written in zip(rows, ROWS, strict=True))
    assert read_region_info(tmp_path / "out").model_hash == "bua-r101"


def test_pickled_file_is_refused_before_anything_is_written(bua_folder, tmp_path):
    with pytest.raises(ValueError, match=r"coco_1.npz: info is pickled.*--allow-pickle"):
        import_regions(bua_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_malicious_file_is_left_out_and_never_run(bua_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(bua_folder / "evil.npz", x=np.zeros((1, 6)), bbox=np.zeros((1, 4)), image_h=1, image_w=1, info=Attack())
    report = import_regions(bua_folder, tmp_path / "out", allow_pickle=True, max_bad_fraction=0.2)
    assert (report.rows_kept, dict(report.counts)) == (4, {"unsafe pickle": 1})
    assert "refers to posix.system" in report.examples["unsafe pickle"]
    assert not (tmp_path / "attacked").exists()


def test_what_our_writer_writes_holds_no_pickle_and_comes_back_whole(tmp_path):
    for row in ROWS:
        write_bua_npz(tmp_path / "flat" / f"{row['image_id']}.npz", row)
    with np.load(tmp_path / "flat" / "coco_2.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].dtype.hasobject for name in arrays} == dict.fromkeys(arrays, False)
    import_regions(tmp_path / "flat", tmp_path / "out")
    rows = read_regions(tmp_path / "out")
    assert all(same(row, written, atol=5e-4) for row, written in zip(rows, ROWS, strict=True))


def test_bad_files_are_left_out_by_cause(bua_folder, tmp_path):
    (bua_folder / "empty.npz").touch()
    (bua_folder / "text.npz").write_text("no archive")
    (bua_folder / "cut.npz").write_bytes((bua_folder / "coco_1.npz").read_bytes()[:-50])
    save_as_bua(bua_folder / "wide.npz", random_row("wide", width=7))
    np.savez(bua_folder / "other.npz", y=np.zeros(3))
    save_as_bua(bua_folder / "nan.npz", ROWS[0] | {"features": np.full((1, 6), np.nan)})
    report = import_regions(bua_folder, tmp_path / "out", allow_pickle=True, max_bad_fraction=0.7)
    assert report.rows_kept == 4
    expected = {"broken file": 3, "wrong shape": 1, "not region features": 1, "not finite": 1}
    assert dict(report.counts) == expected
    skipped = json.loads((tmp_path / "out" / "report.json").read_text())["skipped"]
    assert [entry["image_id"] for entry in skipped] == ["cut", "empty", "nan", "other", "text", "wide"]


def test_too_many_bad_files_are_an_error_with_the_counts(bua_folder, tmp_path):
    (bua_folder / "empty.npz").touch()
    with pytest.raises(TooManyBadRowsError, match=r"(?s)more than 10% .*1 x broken file"):
        import_regions(bua_folder, tmp_path / "out", allow_pickle=True)


def test_another_process_that_imports_into_the_folder_is_left_alone(bua_folder, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(ValueError, match="is writing into"):
        import_regions(bua_folder, tmp_path / "out", allow_pickle=True)
    assert not (tmp_path / "out").exists()


def test_folder_without_a_good_file_is_an_error(tmp_path):
    (tmp_path / "a.npz").touch()
    with pytest.raises(TooManyBadRowsError, match="No file could be used"):
        import_regions(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dump", [as_msgpack, as_npz])
@pytest.mark.parametrize("names", [True, False])
def test_lmdb_of_uniter_becomes_rows_with_normalized_boxes(tmp_path, dump, names):
    values = {f"{row['image_id']}.npz": dump(uniter_arrays(row)) for row in ROWS}
    import_regions(save_lmdb(tmp_path / "lmdb", values, names), tmp_path / "out")
    rows = list(read_regions(tmp_path / "out"))
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in ROWS]
    assert read_region_info(tmp_path / "out").box_unit == "normalized"
    assert rows[0]["image_height"] is None
    for row, written in zip(rows, ROWS, strict=True):
        assert same(row, written | {"boxes": written["boxes"] / [64, 48, 64, 48]}, names=UNITER_NAMES, atol=1e-3)
        assert row["background_index"] == 0
        assert row["object_ids"].tolist() == written["class_probs"][:, 1:].argmax(axis=1).tolist()


def test_bytes_of_msgpack_numpy_itself_are_read(tmp_path):
    with UniterLmdb(save_lmdb(tmp_path, {"a": BY_MSGPACK_NUMPY})) as database:
        arrays = database.read("a")
    assert arrays["features"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["conf"].dtype == np.float16
    assert arrays["norm_bb"].shape == (2, 6)


@pytest.mark.parametrize("content", [{"coco_1.JPG": [48, 64]}, None])
def test_sizes_bring_the_boxes_to_pixels(tmp_path, content):
    images = [{"file_name": f"{row['image_id'].upper()}.jpg", "height": 48, "width": 64} for row in ROWS]
    (tmp_path / "sizes.json").write_text(json.dumps(content or {"images": images}))
    rows = ROWS[:1] if content else ROWS
    values = {f"{row['image_id']}.npz": as_msgpack(uniter_arrays(row)) for row in rows}
    import_regions(save_lmdb(tmp_path / "lmdb", values), tmp_path / "out", sizes=tmp_path / "sizes.json")
    assert read_region_info(tmp_path / "out").box_unit == "pixels"
    for row, written in zip(read_regions(tmp_path / "out"), rows, strict=True):
        assert same(row, written, names=["boxes"], atol=64 / 2000)
        assert (row["image_height"], row["image_width"]) == (48, 64)


def test_image_without_a_size_is_left_out(tmp_path):
    (tmp_path / "sizes.json").write_text('{"coco_1": [48, 64]}')
    values = {f"{row['image_id']}.npz": as_msgpack(uniter_arrays(row)) for row in ROWS}
    report = import_regions(
        save_lmdb(tmp_path / "lmdb", values), tmp_path / "out", sizes=tmp_path / "sizes.json", max_bad_fraction=1.0
    )
    assert (report.rows_kept, dict(report.counts)) == (1, {"no image size": 3})


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 3}', '{"images": [{"id": 1}]}'])
def test_other_file_of_sizes_is_an_error(tmp_path, text):
    (tmp_path / "sizes.json").write_text(text)
    with pytest.raises(ValueError, match="holds no sizes"):
        read_sizes(tmp_path / "sizes.json")


def test_bad_values_of_an_lmdb_are_left_out_by_cause(tmp_path):
    good = as_msgpack(uniter_arrays(ROWS[0]))
    values = {f"good{index}.npz": good for index in range(3)}
    values |= {"cut.npz": good[:-9], "number.npz": msgpack.packb(3), "objects.npz": OBJECTS_BY_MSGPACK_NUMPY}
    values |= {"pickled.npz": b"\x80\x04N.", "zip.npz": b"PK\x03\x04", "empty.npz": msgpack.packb({})}
    folder = save_lmdb(tmp_path / "lmdb", values)
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        transaction.put(b"__keys__", json.dumps([*values, "gone.npz"]).encode())
    report = import_regions(folder, tmp_path / "out", max_bad_fraction=0.9)
    assert report.rows_kept == 3
    assert dict(report.counts) == {"broken entry": 4, "pickled": 1, "not region features": 1, "missing entry": 1}


def test_import_goes_on_with_the_missing_shards(bua_folder, tmp_path):
    import_regions(bua_folder, tmp_path / "out", allow_pickle=True, shard_size=1)
    shards = sorted((tmp_path / "out").glob("*.parquet"))
    before = [shard.stat().st_mtime_ns for shard in shards]
    data = shards[2].read_bytes()
    shards[2].unlink()
    import_regions(bua_folder, tmp_path / "out", allow_pickle=True, shard_size=1)
    assert shards[2].read_bytes() == data
    assert [shard.stat().st_mtime_ns == time for shard, time in zip(shards, before, strict=True)].count(False) == 1


def test_lmdb_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[lmdb\]'"):
        uniter_lmdb.UniterLmdb(tmp_path)


def test_file_that_is_no_lmdb_is_an_error(tmp_path):
    (tmp_path / "data.mdb").write_text("text" * 5000)
    with pytest.raises(ValueError, match="cannot be opened as LMDB"):
        import_regions(tmp_path, tmp_path / "out")


def test_folder_without_features_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither data.mdb nor .npz"):
        import_regions(tmp_path, tmp_path / "out")
