"""The command `wenlan data captions`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .short_errors import short_errors

if TYPE_CHECKING:
    from .data import CaptionRows

RECIPE_FIELDS = {"val": "validation_captions", "test": "test_captions"}  # by how a split's name begins


def captions(
    kind: Annotated[str, typer.Argument(help="multi30k, coco, stair, coco-cn, conceptual, lines or folder.")],
    source: Annotated[Path, typer.Argument(help="The file or folder of the data set, as it was published.")],
    output: Annotated[Path, typer.Option(help="Folder for SPLIT/captions_LANGUAGE.jsonl.")],
    test_set: Annotated[
        list[str] | None,
        typer.Option(help="KIND=SOURCE or a folder written here, whose test pictures are left out; again for more."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Stop if a test picture is in another list.")] = False,
    split_file: Annotated[Path | None, typer.Option(help="dataset_coco.json: splits of coco and stair files.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Of the captions (coco, conceptual), or to choose (multi30k).")
    ] = None,
    task: Annotated[int | None, typer.Option(help="Of multi30k: 1 (one caption) or 2 (five).")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Of multi30k, as its files are named.")] = None,
    translated: Annotated[bool, typer.Option(help="Of coco-cn: the translated captions.")] = False,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures; each must be there then.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Of conceptual: number of a column of paths.")] = None,
    max_rows: Annotated[int | None, typer.Option(help="Read no more.")] = None,
    max_bad_fraction: Annotated[float | None, typer.Option(help="Stop above this share of bad rows.")] = None,
) -> None:
    """Turns the captions of a public data set into files that training reads, without pictures of any test set."""
    from .data import LeakGuard, read_captions, write_captions
    from .data.leak_guard import is_test

    with short_errors():
        if language and kind != "multi30k" and len(language) > 1:
            raise ValueError(f"{kind} is in one language; give --language once.")
        rows = read_captions(
            kind,
            source,
            languages=language if kind == "multi30k" else None,
            language=language[0] if language and kind != "multi30k" else None,
            split_file=split_file,
            task=task,
            splits=split,
            translated=translated or None,
            image_column=image_column,
            image_root=image_root,
            max_rows=max_rows,
            max_bad_fraction=max_bad_fraction,
        )
        guard = LeakGuard(strict=strict)
        for other in test_set or []:
            guard.add_test_set(other, _read_test_set(other, split_file))
        if own := [row for row in rows if is_test(row)]:
            guard.add_test_set(kind, own)
        written = write_captions(guard.subtract(kind, rows), output)
        for account in (rows.report, guard, written):
            typer.echo(account)
        typer.echo("In a recipe of wenlan finetune-retrieval:")
        for name in dict.fromkeys(split for split, _ in written.counts):
            part = next((field for word, field in RECIPE_FIELDS.items() if name.startswith(word)), "captions")
            typer.echo(f"  {part}: {output / name}")


def _read_test_set(given: str, split_file: Path | None) -> "CaptionRows":
    """The rows of KIND=SOURCE, or of a folder."""
    from .data import read_captions
    from .data.caption_readers import KINDS, kind_options

    kind, separator, source = given.partition("=")
    if not separator or kind not in KINDS:
        kind, source = "folder", given
    takes_splits = "split_file" in kind_options(kind) and Path(source) != split_file
    return read_captions(kind, source, split_file=split_file if takes_splits else None)


__all__ = ["captions"]
