"""Captions as files that training reads: a folder for each split, in it a file for each language."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..files.atomic import atomic_files
from ..rows.scripts import SCRIPTS
from .jsonl import CAPTION_FILE
from .rows import SPLIT


@dataclass
class WrittenCaptions:
    """Counts of what is in the files: (split, language) -> [images, captions]."""

    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [(split, language, *numbers) for (split, language), numbers in self.counts.items()]
        return "\n".join(f"{s:<18}{n:<4}{p:>9} images {c:>9} captions" for s, n, p, c in rows)


def write_captions(rows: Iterable[Mapping], output: str | Path) -> WrittenCaptions:
    """Write `output`/SPLIT/captions_LANGUAGE.jsonl, {"image", "image_id", "text": [...]} a line.

    All files appear together when all are complete. Files of other splits and languages stay.

    Args:
        rows: of `read_captions`, perhaps through `Decontaminator.subtract`.
        output: the folder, made if need be.

    Raises:
        ValueError: one of the files is there already, a row is of another form, or there are no rows.
    """
    output, written = Path(output), WrittenCaptions()
    with atomic_files(output) as unfinished, ExitStack() as stack:
        files: dict[tuple[str, str], IO[str]] = {}
        for row in rows:
            for language, captions in row["captions"].items():
                key = row["split"], language
                if key not in files:
                    files[key] = stack.enter_context(_open(output, unfinished, *key))
                    written.counts[key] = [0, 0]
                line = {"image": row["image"], "image_id": row["image_id"], "text": captions}
                files[key].write(json.dumps(line, ensure_ascii=False) + "\n")
                written.counts[key][0] += 1
                written.counts[key][1] += len(captions)
        if not files:
            raise ValueError(f"There are no captions for {output}.")
    return written


def _open(output: Path, unfinished: Path, split: str, language: str) -> IO[str]:
    if not SPLIT.fullmatch(split) or language not in SCRIPTS:
        raise ValueError(f"{split!r} and {language!r} are no split and language of rows as `read_captions` gives them.")
    name = Path(split) / CAPTION_FILE.format(language)
    if (output / name).exists():
        raise ValueError(f"{output / name} is there already; remove it, or choose another folder.")
    (unfinished / split).mkdir(exist_ok=True)
    return (unfinished / name).open("w", encoding="utf-8")


__all__ = ["WrittenCaptions", "write_captions"]
