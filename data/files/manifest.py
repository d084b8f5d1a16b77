"""The manifest of an output folder: what it is made of, so that a run which wants something else is refused."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from .bounded import read_bounded
from .json_files import MAX_BYTES, write_json

MANIFEST = "manifest.json"


def agree_with_manifest(folder: Path, wanted: Mapping[str, object], *, shards: str) -> None:
    """Write the manifest of a new folder, or compare it with what this run wants.

    Args:
        folder: is made if need be.
        wanted: plain values, as JSON has them.
        shards: pattern of the files that must not be there without a manifest.

    Raises:
        ValueError: the folder was begun with something else, which the message names, or has no readable manifest.
    """
    file, wanted = folder / MANIFEST, json.loads(json.dumps(wanted))
    try:
        found = json.loads(read_bounded(file, max_bytes=MAX_BYTES))
    except FileNotFoundError:
        if any(folder.glob(shards)):
            raise ValueError(f"{folder} holds shards but no {MANIFEST}; give another output folder.") from None
        write_json(file, wanted)
        return
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read ({error}); give another output folder.") from error
    if found != wanted:
        raise ValueError(
            f"{folder} was begun otherwise: {', '.join(differences(found, wanted))}. Give the same inputs and settings "
            "to resume, or another output folder to begin anew."
        )


def differences(found: object, wanted: object, name: str = "") -> Iterator[str]:
    """Yield "name is FOUND there and WANTED now" for every leaf that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif found != wanted:
        yield f"{name} is {found!r} there and {wanted!r} now"


__all__ = ["MANIFEST", "agree_with_manifest", "differences"]
