"""The command `wenlan data clean`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ..data.cleaning.settings import RULES, SWITCHES
from ..training.resume_hint import resume_hint


def _rule(rule: str) -> object:
    option = f"--{rule.replace('_', '-')}"
    names = [f" /--no{option[1:]}"] if rule in SWITCHES else [option]
    return typer.Option(*names, help=RULES[rule], show_default=False, rich_help_panel="Rules, in their order")


def clean(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A file or folder of pairs.")],
    output: Annotated[Path, typer.Option(help="The folder that gets the pairs and clean_report.json.")],
    image_root: Annotated[
        Path | None, typer.Option(help="The folder that image paths start from, if not the file's own.")
    ] = None,
    image_column: Annotated[str, typer.Option(help="Holds a path or bytes.")] = "image",
    text_column: Annotated[str, typer.Option(help="Holds a text or a list of texts.")] = "text",
    encoding: Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read and decode images.")] = os.cpu_count() or 1,
    decode_text: Annotated[bool, _rule("decode_text")] = True,
    simplified: Annotated[bool, _rule("simplified")] = False,
    han_length: Annotated[bool, _rule("han_length")] = True,
    han_fraction: Annotated[bool, _rule("han_fraction")] = True,
    drop_words: Annotated[list[Path] | None, _rule("drop_words")] = None,
    cooccurring_text: Annotated[bool, _rule("cooccurring_text")] = True,
    cooccurring_image: Annotated[bool, _rule("cooccurring_image")] = True,
    equal_pairs: Annotated[bool, _rule("equal_pairs")] = True,
    image_readable: Annotated[bool, _rule("image_readable")] = True,
    image_side: Annotated[bool, _rule("image_side")] = True,
    image_aspect: Annotated[bool, _rule("image_aspect")] = True,
    image_bytes: Annotated[bool, _rule("image_bytes")] = True,
    image_colour: Annotated[bool, _rule("image_colour")] = True,
    exact_duplicates: Annotated[bool, _rule("exact_duplicates")] = True,
    near_duplicates: Annotated[bool, _rule("near_duplicates")] = True,
) -> None:
    """Write the pairs of a crawl that a model can learn from, and count what each rule left out."""
    from ..data.cleaning.pipeline import clean_pairs
    from ..data.cleaning.settings import CleanSettings
    from ..processing.image_decoding import decode_image

    skip = [rule for rule in SWITCHES if not context.params[rule]]
    with resume_hint(output):
        report = clean_pairs(
            source,
            output,
            decode=decode_image,
            image_root=image_root,
            image_column=image_column,
            text_column=text_column,
            encoding=encoding,
            settings=CleanSettings(skip=skip, simplified=simplified, drop_words=tuple(drop_words or ())),
            workers=workers,
        )
    typer.echo(report)
    root = "" if report.output.suffix == ".parquet" else f" --image_root {report.image_root}"
    typer.echo(f"Train on them: wenlan pretrain-brivl RECIPE --data {report.output}{root}")


__all__ = ["clean"]
