"""The order of the checkpoints in a folder, by run and step, and the removal of the oldest."""

import logging
import os
import re
import shutil
from pathlib import Path

from ...data.files.atomic import UNFINISHED
from .manifest import read_manifest

logger = logging.getLogger(__name__)

Order = tuple[int, int]  # run, step


def find_checkpoints(output_dir: Path) -> dict[Path, Order | None]:
    """Return the checkpoints of a folder, the oldest first, with run and step.

    Those without a readable manifest, None, come last, by the step in their name: they are the first to be looked at
    when a run resumes, so that they are named.
    """
    found: dict[Path, Order | None] = {}
    for path in output_dir.glob("checkpoint-*"):
        if not re.fullmatch(r"checkpoint-\d+", path.name) or not path.is_dir():
            continue
        try:
            manifest = read_manifest(path)
            found[path] = (manifest.run, manifest.step)
        except (OSError, ValueError):
            found[path] = None
    return dict(sorted(found.items(), key=lambda one: (one[1] is None, one[1] or (0, int(one[0].name[11:])))))


def number_of_run(output_dir: Path, checkpoint: Path | None) -> int:
    """Return the number of a run that starts from a checkpoint, None for the beginning.

    It is that of the checkpoint if that is the newest in its folder, so that a resumed run writes what an unbroken one
    does, else the next one, so that what it writes is newer than all that is there.
    """
    orders = {path: order for path, order in find_checkpoints(output_dir).items() if order is not None}
    newest = max(orders.values(), default=(0, 0))
    path = checkpoint and output_dir / checkpoint.name
    if checkpoint and path in orders and orders[path] == newest and path.samefile(checkpoint):
        return newest[0]
    return newest[0] + 1


def rotate_checkpoints(output_dir: Path, newest: Path, *, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints, incomplete ones first, down to `limit`; the newest and the best one stay.

    None or 0: all stay.
    """
    if not limit or limit < 0:
        return
    found = find_checkpoints(output_dir)
    kept = {newest.name, *([Path(best).name] if best else [])}
    ordered = sorted(found, key=lambda path: found[path] is not None and _is_complete(path))  # stable
    surplus = len(ordered) - max(limit, len(kept & {path.name for path in ordered}))
    for path in [path for path in ordered if path.name not in kept][: max(surplus, 0)]:
        _discard(path)


def _is_complete(checkpoint: Path) -> bool:
    """Return True if the files of the manifest are there; what is in them takes long to check."""
    return all((checkpoint / name).is_file() for name in read_manifest(checkpoint).files)


def _discard(checkpoint: Path) -> None:
    """Remove a checkpoint. It loses its name first: one that is half removed must not pass for one."""
    hidden = checkpoint.with_name(f"{UNFINISHED}{checkpoint.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        os.replace(checkpoint, hidden)
    except OSError as error:
        logger.warning("%s could not be removed: %s", checkpoint, error)
    shutil.rmtree(hidden, ignore_errors=True)


__all__ = ["Order", "find_checkpoints", "number_of_run", "rotate_checkpoints"]
