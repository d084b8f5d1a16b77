"""The commands of `wenlan data`: look at image-text pairs before a model is trained on them, or draw some."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_captions import captions
from .cli_clean import clean
from .cli_scenes import scenes
from .short_errors import short_errors

data_app = typer.Typer(
    help="Report on image-text pairs before training, clean them, or draw some.", no_args_is_help=True
)


@data_app.command()
def report(
    source: Annotated[str, typer.Argument(help="A file or folder of pairs, shards, or emoji7.")],
    streaming: Annotated[bool, typer.Option(help="Read .tar or .parquet shards as a stream: a sample.")] = False,
    tokenizer: Annotated[str | None, typer.Option(help="Folder or hub id; shows cut and unknown text.")] = None,
    language: Annotated[str, typer.Option(help="Of the captions: zh, en, de, fr, cs, ja or ko.")] = "zh",
    image_root: Annotated[str | None, typer.Option(help="Folder of the pictures, if not beside the file.")] = None,
    image_column: Annotated[str, typer.Option(help="Column with the picture or its path.")] = "image",
    text_column: Annotated[str, typer.Option(help="Column with the caption or the captions.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Also write the report here, as JSON.")] = None,
) -> None:
    """Prints duplicates, lengths, scripts and bad rows of pairs, and what of it spoils training."""
    from .training_scripts.pretraining_data import DataArguments, load_pairs, report_data

    with short_errors():
        args = DataArguments(
            data=source,
            streaming=streaming,
            language=language,
            image_root=image_root,
            image_column=image_column,
            text_column=text_column,
            max_bad_fraction=1.0,
        )
        if tokenizer is not None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        pairs, _ = load_pairs(args, seed=0)
        found = report_data(pairs, args, tokenizer=tokenizer)
        typer.echo(found)
        if output is not None:
            found.save(output)


data_app.command()(captions)
data_app.command()(clean)
data_app.command()(scenes)

__all__ = ["data_app"]
