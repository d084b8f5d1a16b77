"""`wenlan translate-captions`: the captions of a corpus in other languages, by a translation model."""

from pathlib import Path
from typing import Annotated

import typer

from ..training.resume_hint import resume_hint


def translate_captions(
    source: Annotated[Path, typer.Argument(help="A file or folder of pairs; the images need not exist.")],
    output: Annotated[Path, typer.Option(help="Folder for captions_XX.jsonl and shards; a stopped run resumes there.")],
    model: Annotated[
        str,
        typer.Option(help='Folder or hub id of M2M100, NLLB, MBart ..., or "Helsinki-NLP/opus-mt-{source}-{target}".'),
    ],
    source_language: Annotated[str, typer.Option(help="Of the captions.")] = "en",
    languages: Annotated[str, typer.Option(help="To translate into, separated by commas.")] = "zh,de,fr,cs,ja,ko",
    code: Annotated[
        list[str] | None, typer.Option(help="What the model calls a language: ja=jap. May be given several times.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Before every caption, for T5-like models: '<2{target}> '.")] = "",
    image_column: Annotated[str, typer.Option(help="Holds a path, or another name of the image.")] = "image",
    text_column: Annotated[str, typer.Option(help="Holds a text or a list of texts.")] = "text",
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of the images of a CC3M or CC12M list, if not beside it.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="4 on a GPU and 1 (greedy) on a CPU without it.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Source tokens of a batch, padding included.")] = 2048,
    max_source_tokens: Annotated[int, typer.Option(min=1, help="Longer captions are not translated.")] = 128,
    shard_size: Annotated[int, typer.Option(min=1, help="Rows a shard.")] = 1000,
    skip_filter: Annotated[
        list[str] | None, typer.Option(help="A filter to turn off, such as copied. May be given several times.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="A greater fraction of bad rows ends in exit code 1.")
    ] = 0.1,
    max_filtered_fraction: Annotated[
        float,
        typer.Option(min=0, max=1, help="A greater fraction of captions left out in a language ends in exit code 1."),
    ] = 0.5,
) -> None:
    """Write the captions of a corpus in other languages; bad translations are left out, counted and shown."""
    with resume_hint(output):
        from ..data.translation.run import ModelChoice
        from ..data.translation.run import translate_captions as translate

        report = translate(
            source,
            output,
            model=ModelChoice(model, _codes(code or []), prefix, dtype, device),
            source_language=source_language,
            languages=[language.strip() for language in languages.split(",") if language.strip()],
            columns=(image_column, text_column),
            image_root=image_root,
            encoding=encoding,
            num_beams=num_beams,
            batch_tokens=batch_tokens,
            max_source_tokens=max_source_tokens,
            shard_size=shard_size,
            skip_filters=skip_filter or (),
            max_bad_fraction=max_bad_fraction,
            max_filtered_fraction=max_filtered_fraction,
        )
        typer.echo(report)
        root = image_root or (source if source.is_dir() else source.parent)
        typer.echo(f"What was left out, with examples: {output}/report.json")
        look = f"wenlan data report {output}/captions_{source_language}.jsonl --language {source_language}"
        typer.echo(f"Look at a language: {look} --image-root {root}")


def _codes(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for language, _, code in pairs:
        if not (language and code):
            raise ValueError(f"--code is {language + code!r}; write LANGUAGE=CODE, such as ja=jap.")
    return {language: code for language, _, code in pairs}


__all__ = ["translate_captions"]
