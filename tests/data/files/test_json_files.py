import gzip
import io
import zipfile

import pytest
from wenlan.data.files.json_files import holds_list, read_json, write_json


def test_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_text("[1]", "utf-8-sig")
    assert read_json(tmp_path / "a.json") == [1]


def test_value_is_written_as_it_is_read_with_other_scripts_and_bytes_that_are_no_utf8(tmp_path):
    value = {"青蛙": [1, "a\udcff.png", "\\udcff"]}
    write_json(tmp_path / "new" / "a.json", value)
    assert (tmp_path / "new" / "a.json").read_text("utf-8").startswith('{\n "青蛙": [')
    assert read_json(tmp_path / "new" / "a.json") == value


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", content)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_packed_file_is_to_be_unpacked(tmp_path, pack):
    (tmp_path / "a.json").write_bytes(pack(b"[1]"))
    with pytest.raises(ValueError, match=r"a\.json is packed; unpack it"):
        read_json(tmp_path / "a.json")


def test_broken_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.json").write_text("[1", "utf-8")
    with pytest.raises(ValueError, match=r"a\.json is no JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.json"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("content", "expected"), [("\n [1]", True), (' {"a": [1]}', False), ("", False)])
def test_list_is_told_from_an_object_by_its_beginning(tmp_path, encoding, content, expected):
    (tmp_path / "a.json").write_text(content, encoding)
    assert holds_list(tmp_path / "a.json") is expected
