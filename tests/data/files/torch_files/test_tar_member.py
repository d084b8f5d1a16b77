"""Archives in which a checkpoint comes: opened where it lies, or a message says what to unpack."""

import gzip
import io
import os
import tarfile

import pytest
import torch
from helpers.tar_files import write_tar
from safetensors.torch import save as save_safetensors
from wenlan.data.files.checkpoint import read_checkpoint

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


def saved(**options):
    stream = io.BytesIO()
    torch.save(STATE, stream, **options)
    return stream.getvalue()


CHECKPOINTS = {
    "zip": saved(),
    "row of pickles": saved(_use_new_zipfile_serialization=False),
    "safetensors": save_safetensors(STATE),
}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_only_checkpoint_of_a_tar_is_read(kind, tar_format, tmp_path):
    members = {
        "BriVL": None,
        "BriVL/._BriVL.pth": b"\x80\x02" + b"of macOS",
        "BriVL/.DS_Store": b"\0\0\0\1Bud1",
        "BriVL/README.md": "说明".encode(),
        "BriVL/BriVL-1.0-5500w.pth": CHECKPOINTS[kind],
        "BriVL/latest.pth": "BriVL-1.0-5500w.pth",
        "BriVL/passwords": "/etc/passwd",
    }
    path = write_tar(tmp_path / "BriVL-1.0-5500w.tar", members, format=tar_format)
    assert torch.equal(read_checkpoint(path)["weight"], STATE["weight"])
    assert os.listdir(tmp_path) == ["BriVL-1.0-5500w.tar"]


@pytest.mark.parametrize("suffix", [".tar", ".pth", ".safetensors", ""])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_suffix_does_not_matter(kind, suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(CHECKPOINTS[kind])
    assert torch.equal(read_checkpoint(tmp_path / f"a{suffix}")["weight"], STATE["weight"])


@pytest.mark.parametrize("name", ["../../evil.pth", "/tmp/evil.pth", "a/../../evil.pth", "a\n\x1b[31m.pth", "权重.pth"])
def test_name_in_a_tar_never_becomes_a_path(name, tmp_path):
    path = write_tar(tmp_path / "inner.tar", {name: CHECKPOINTS["zip"]})
    assert torch.equal(read_checkpoint(path)["weight"], STATE["weight"])
    assert os.listdir(tmp_path) == ["inner.tar"]


REFUSED = {
    "two": (
        {"a.pth": CHECKPOINTS["zip"], "b/b.pth": CHECKPOINTS["zip"]},
        r"2 files .*: unpack one of a\.pth, b/b\.pth",
    ),
    "none": ({"notes.txt": b"text"}, r"no checkpoint: unpack it; it has notes\.txt"),
    "link alone": ({"a.pth": "/etc/passwd"}, r"no checkpoint: unpack it; it has no file"),
    "tar in a tar": ({"inner.tar": b"inner" + b"\0" * 600}, r"it has inner\.tar"),
    "before 0.2": (dict.fromkeys(("sys_info", "pickle", "tensors", "storages"), b"\x80\x02N."), "PyTorch before 0.2"),
    "odd name": ({"a\n.txt": b"", "b" * 300: b""}, r"it has a\\n\.txt, b{80}\."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_tar_without_one_clear_checkpoint_says_what_to_unpack(kind, tmp_path):
    members, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as error:
        read_checkpoint(write_tar(tmp_path / "a.tar", members, format=tarfile.PAX_FORMAT))
    assert len(str(error.value).replace(str(tmp_path), "")) <= 400
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tar_says_which_file_to_unpack(mode, tmp_path):
    members = {"BriVL/._a.pth": b"x", "BriVL/a.pth": CHECKPOINTS["zip"]}
    with pytest.raises(ValueError, match=r"it is compressed: unpack it \(tar -xf\) .* in it: BriVL/a\.pth\."):
        read_checkpoint(write_tar(tmp_path / "a.pth", members, mode))


def test_compressed_checkpoint_says_so(tmp_path):
    (tmp_path / "a.pth").write_bytes(gzip.compress(CHECKPOINTS["zip"]))
    with pytest.raises(ValueError, match="it is compressed: unpack it"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.6, 0.9])
def test_cut_tar_is_refused(fraction, tmp_path):
    data = write_tar(tmp_path / "a.tar", {"a.pth": CHECKPOINTS["zip"]}).read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: int(fraction * (512 + len(CHECKPOINTS["zip"])))])
    with pytest.raises(ValueError, match=r"a\.tar is no readable checkpoint"):
        read_checkpoint(tmp_path / "a.tar")


def test_tar_that_claims_much_is_refused_at_once(tmp_path):
    member = tarfile.TarInfo("a.pth")
    member.size = 2**33
    for kind in (tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE):
        member.type = kind
        (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + CHECKPOINTS["zip"] + b"\0" * 1024)
        with pytest.raises(ValueError, match=r"a\.tar is no readable checkpoint"):
            read_checkpoint(tmp_path / "a.tar")
