"""The folder where `datasets` keeps its copies, which must be one that can be written."""

import atexit
import logging
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from .atomic import temporary_path

logger = logging.getLogger(__name__)


def dataset_cache() -> Path:
    """Return the cache of `datasets`; where the user has none that can be written, a temporary one becomes it."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE)
    if not _can_write(folder):
        folder = _temporary_cache(folder)
        config.HF_DATASETS_CACHE = folder
    return folder


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@cache
def _temporary_cache(wanted: Path) -> Path:
    prefix = temporary_path(Path(tempfile.gettempdir()) / "datasets_").name  # what killed processes left is removed
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    logger.warning("%s cannot be written: copies of data go to %s. HF_HOME names another folder.", wanted, folder)
    return Path(folder)


__all__ = ["dataset_cache"]
