import json

import pytest
from wenlan.data.files.manifest import agree_with_manifest


def test_same_settings_agree_with_those_before(tmp_path):
    for _ in range(2):
        agree_with_manifest(tmp_path / "out", {"a": 1, "b": {"c": (1, 2)}}, shards="*.parquet")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == {"a": 1, "b": {"c": [1, 2]}}


def test_other_settings_are_refused_and_named(tmp_path):
    agree_with_manifest(tmp_path, {"a": 1, "b": {"c": 2, "d": 3}}, shards="*.parquet")
    with pytest.raises(ValueError, match=r"begun otherwise: b\.c is 2 there and 5 now, b\.e is None there and 4 now\."):
        agree_with_manifest(tmp_path, {"a": 1, "b": {"c": 5, "d": 3, "e": 4}}, shards="*.parquet")


def test_shards_without_a_manifest_are_refused(tmp_path):
    (tmp_path / "x.parquet").touch()
    with pytest.raises(ValueError, match="another output folder"):
        agree_with_manifest(tmp_path, {}, shards="*.parquet")
    assert not (tmp_path / "manifest.json").exists()


def test_damaged_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        agree_with_manifest(tmp_path, {}, shards="*.parquet")
