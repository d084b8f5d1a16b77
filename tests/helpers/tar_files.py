"""Tar archives with files, links and folders."""

import io
import tarfile
from pathlib import Path
from typing import Any


def write_tar(path: Path, members: dict[str, bytes | str | None], mode: Any = "w", **options: Any) -> Path:
    """Writes a tar of names and bytes; a text is the target of a link, None a folder."""
    with tarfile.open(path, mode, **options) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


__all__ = ["write_tar"]
