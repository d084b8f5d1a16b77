"""Captions as users hold them, by the name of the data set: a folder or file to rows of one form (`CaptionRows`)."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ..rows.scripts import SCRIPTS
from .coco import CocoCaptions
from .coco_cn import CocoCN
from .jsonl import CaptionFolder, CaptionLines, ConceptualCaptions
from .multi30k import Multi30K
from .rows import CaptionRows

# kind -> what reads it; the options are its fields
KINDS: dict[str, Callable] = {
    "multi30k": Multi30K,
    "coco": CocoCaptions,
    "stair": partial(CocoCaptions, language="ja"),
    "coco-cn": CocoCN,
    "conceptual": ConceptualCaptions,
    "lines": CaptionLines,
    "folder": CaptionFolder,
}
MAX_BAD_FRACTION = 0.1
MANY_DEAD_LINKS = 0.9  # of CC3M and CC12M, of whose images many are gone


def read_captions(
    kind: str,
    source: str | Path,
    *,
    languages: Sequence[str] | None = None,
    language: str | None = None,
    split_file: str | Path | None = None,
    task: Literal[1, 2] | None = None,
    splits: Sequence[str] | None = None,
    translated: bool | None = None,
    image_column: str | None = None,
    image_root: str | Path | None = None,
    max_rows: int | None = None,
    on_bad_row: Literal["skip", "raise"] = "skip",
    max_bad_fraction: float | None = None,
) -> CaptionRows:
    """Return the images of a data set with their captions; iterate over it, as often as you like.

    Args:
        kind: "multi30k" (the repository), "coco" (Karpathy's file, or COCO's own files), "stair" (STAIR captions),
            "coco-cn" (its folder), "conceptual" (the TSV of CC3M or CC12M), "lines" (JSON lines of rows as they come
            out), "folder" (what `write_captions` wrote).
        source: the file or folder.
        languages: of Multi30K; all that are there by default.
        language: of the captions of a kind that has one: "en", of STAIR "ja".
        split_file: Karpathy's dataset_coco.json, for COCO's own files and STAIR.
        task: of Multi30K, 1 or 2; by default five captions (task 2) where a language has them, else one (task 1).
        splits: of Multi30K, as its files are named; by default train, val and test_2016.
        translated: read COCO-CN's manually translated captions, which only test images have, not the written ones.
        image_column: number of the column of a TSV that holds the path of the image.
        image_root: the folder of the images; if given, and for a TSV in any case, each image must be there.
        max_rows: that are read.
        on_bad_row: leave a bad row out and count it in `report`, or raise at the first one.
        max_bad_fraction: raise at the end if a greater fraction is bad; 0.1 by default, 0.9 for "conceptual".

    Raises:
        ValueError: an unknown kind or language, or an option that the kind does not have.
        FileNotFoundError: here, or at the first row: no such file, or the folder does not hold what it should.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no reader {kind!r}, only {', '.join(KINDS)}.")
    source, make = Path(source), KINDS[kind]
    root = None if image_root is None else Path(image_root)
    file = None if split_file is None else Path(split_file)
    options: dict[str, object] = {"languages": languages, "language": language, "split_file": file}
    options |= {"task": task, "splits": splits, "translated": translated, "image_column": image_column}
    given = {name: value for name, value in options.items() if value is not None}
    known = kind_options(kind)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{kind} has no option {unknown[0]}; its options: {', '.join(known) or 'none'}.")
    if language is not None and language not in SCRIPTS:
        raise ValueError(f"There is no language {language!r}, only {', '.join(SCRIPTS)}.")
    if kind == "conceptual":
        root = root or source.parent
        given["image_root"] = root
    if max_bad_fraction is None:
        max_bad_fraction = MANY_DEAD_LINKS if kind == "conceptual" else MAX_BAD_FRACTION
    return CaptionRows(kind, source, make(source, **given), root, max_rows, on_bad_row, max_bad_fraction)


def kind_options(kind: str) -> list[str]:
    """Return the options of `read_captions` that only some kinds have, and this one does."""
    make = KINDS[kind]
    reader = make.func if isinstance(make, partial) else make
    assert dataclasses.is_dataclass(reader), f"{kind} has no options to be listed"
    return [field.name for field in dataclasses.fields(reader) if field.name not in ("source", "image_root")]


__all__ = ["KINDS", "kind_options", "read_captions"]
