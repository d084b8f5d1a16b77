"""The command `wenlan data scenes`."""

from pathlib import Path
from typing import Annotated

import typer

from .short_errors import short_errors


def scenes(
    output: Annotated[Path, typer.Argument(help="The folder that gets a folder for each split.")],
    split: Annotated[
        list[str] | None,
        typer.Option(help="detect, pretrain, finetune, validation, test or test_style; again for more. Default: all."),
    ] = None,
    size: Annotated[str, typer.Option(help="Scenes of each split: a number, or a preset: tests, cpu or gpu.")] = "cpu",
    num_classes: Annotated[int, typer.Option(help="Only the first so many classes.")] = 128,
    canvas: Annotated[int, typer.Option(help="Pixels a side.")] = 192,
    picture_format: Annotated[str, typer.Option(help="png, webp or jpg.")] = "png",
) -> None:
    """Draws EmojiScenes: pictures with exact boxes, captions in seven languages, questions and answers."""
    from .data import write_emoji_scenes
    from .data.emoji_scenes import SPLIT_SEEDS, split_size

    with short_errors():
        splits, wanted = split or list(SPLIT_SEEDS), int(size) if size.lstrip("-").isdecimal() else size
        for name in splits:  # all are checked before the first is drawn
            split_size(name, wanted)
        for name in splits:
            is_new = write_emoji_scenes(
                output,
                name,
                wanted,
                num_classes=num_classes,
                canvas=canvas,
                picture_format=picture_format,
                show_progress=True,
            )
            number = split_size(name, wanted)
            typer.echo(f"{output / name}  {number} scenes{'' if is_new else ', complete already'}")


__all__ = ["scenes"]
