"""Fetches the Python part of detectron2 0.6 from the package index and unpacks it: nothing is installed or compiled.

The archive is a third party's upload of detectron2's own files, so its hash is pinned: pip checks it before it looks
inside, and it is checked again each time it is taken from the cache.
"""

import hashlib
import os
import subprocess
import sys
import tarfile

import pytest

NAME = "pb1-detectron2-0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"


def fetch(folder, *options, sha256=SHA256):
    """Returns the archive, in a folder that keeps it; downloaded by pip, with further options, if it is not there.

    Raises:
        OSError: when it cannot be had.
        ValueError: when it is another one than was checked, which is no reason to skip.
    """
    archive = folder / f"{NAME}.tar.gz"
    if not archive.is_file():
        (folder / "requirements.txt").write_text(f"pb1-detectron2==0.6 --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--no-build-isolation", "--no-binary", ":all:", "--retries", "1", *options]
        command += ["-r", "requirements.txt"]
        result = subprocess.run(command, cwd=folder, timeout=300, capture_output=True, text=True)
        if "DO NOT MATCH THE HASHES" in result.stderr:
            raise ValueError(result.stderr)
        if result.returncode:
            raise OSError(result.stderr)
    return archive


def unpack(archive, folder):
    """Returns the folder to put on the path."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{archive} has the SHA-256 {digest}, not {SHA256}: remove it, it is not what was checked.")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / NAME


def give_up(reason):
    """Fails where the tests decide about a change, skips elsewhere."""
    if os.environ.get("CI") or os.environ.get("WENLAN_CI"):
        pytest.fail(reason)
    pytest.skip(reason)
