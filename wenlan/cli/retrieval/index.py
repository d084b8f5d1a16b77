"""`wenlan index`: build, add, remove, compact, info."""

from pathlib import Path
from typing import Annotated

import typer

from ...training.resume_hint import resume_hint
from ..threads import NumProc, RayAddress

index_app = typer.Typer(help="Indexes of images or sentences, for `wenlan search`.", no_args_is_help=True)

Source = Annotated[
    Path, typer.Argument(help="A folder of images, a list of them (.txt, .jsonl, COCO .json) or one; see --texts.")
]
IndexFolderArgument = Annotated[Path, typer.Argument(help="The folder of an index.")]
Texts = Annotated[bool, typer.Option("--texts", help="The source is a text file, a sentence a line, or pairs.")]
TextColumn = Annotated[str, typer.Option(help="Of pairs: the column with the captions, as text_zh.")]
Encoding = Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")]
ImageRoot = Annotated[Path | None, typer.Option(help="Folder of the images in a list, if not beside it.")]
MetadataFile = Annotated[
    Path | None, typer.Option(help="Further columns, for --where: .csv, .tsv, .jsonl or .parquet with id or path.")
]
Regions = Annotated[
    str | None,
    typer.Option(help="Extract regions for `wenlan search --rerank`: folder of its MLMM, or of a region detector."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images or sentences at a time.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Images or sentences that a kill can cost at most.")]
MaxBad = Annotated[float, typer.Option(min=0, max=1, help="A greater fraction left out ends in exit code 1.")]


@index_app.command()
def build(
    source: Source,
    output: Annotated[Path, typer.Option(help="The folder of the index; one that is there is brought up to date.")],
    model: Annotated[str | None, typer.Option(help="Folder or hub id of a BriVL model.")] = None,
    detector: Annotated[str | None, typer.Option(help="Folder or hub id: BriVL 1.0 looks at its boxes.")] = None,
    texts: Texts = False,
    text_column: TextColumn = "text",
    split: Annotated[str | None, typer.Option(help="Of pairs with a column split, such as test; else all.")] = None,
    encoding: Encoding = None,
    image_root: ImageRoot = None,
    metadata: MetadataFile = None,
    regions: Regions = None,
    backend: Annotated[str | None, typer.Option(help="faiss (default) or milvus.")] = None,
    uri: Annotated[str | None, typer.Option(help="Of Milvus: http://HOST:19530, or a file ending in .db.")] = None,
    batch_size: BatchSize = 32,
    shard_size: ShardSize = 256,
    max_bad_fraction: MaxBad = 0.1,
    num_proc: NumProc = None,
    ray: RayAddress = None,
) -> None:
    """Embed images or sentences, and index them. The same command resumes, and takes up what is new or was changed.

    Images that are gone stay in the index until `wenlan index remove --missing`.
    """
    from ...retrieval.build import BuildOptions, build_index

    with resume_hint(output):
        report = build_index(
            source,
            output,
            model=model,
            detector=detector,
            texts=texts,
            text_column=text_column,
            split=split,
            encoding=encoding,
            image_root=image_root,
            metadata=metadata,
            regions=regions,
            backend=backend,
            uri=uri,
            options=BuildOptions(batch_size, shard_size, max_bad_fraction, num_proc, ray),
        )
    question = "--text 猫" if not texts else "--text WORDS"
    typer.echo(f"{report}\nThe index is in {output}. Search it: wenlan search {output} {question}")


@index_app.command()
def add(
    folder: IndexFolderArgument,
    source: Source,
    texts: Texts = False,
    text_column: TextColumn = "text",
    encoding: Encoding = None,
    image_root: ImageRoot = None,
    metadata: MetadataFile = None,
    batch_size: BatchSize = 32,
    shard_size: ShardSize = 256,
    max_bad_fraction: MaxBad = 0.1,
    num_proc: NumProc = None,
    ray: RayAddress = None,
) -> None:
    """Add images or sentences, by the model that made the index; what is in it unchanged is not embedded again."""
    from ...retrieval.build import BuildOptions, build_index
    from ...retrieval.store.manifest import IndexManifest

    with resume_hint(folder):
        IndexManifest.read(folder)
        report = build_index(
            source,
            folder,
            texts=texts,
            text_column=text_column,
            encoding=encoding,
            image_root=image_root,
            metadata=metadata,
            options=BuildOptions(batch_size, shard_size, max_bad_fraction, num_proc, ray),
        )
    typer.echo(report)


@index_app.command()
def remove(
    folder: IndexFolderArgument,
    where: Annotated[str | None, typer.Option(help="Condition, such as \"path like 'more_photos/%'\".")] = None,
    id: Annotated[list[str] | None, typer.Option(help="Of a row; may be given several times.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Rows whose image is no longer there.")] = False,
) -> None:
    """Remove rows; `wenlan index compact` then frees their place on the disk."""
    from ...retrieval.maintenance import remove_rows

    removed, left = remove_rows(folder, where=where, ids=id, missing=missing)
    typer.echo(f"{removed} rows removed, {left} are left in {folder}")


@index_app.command()
def compact(
    folder: IndexFolderArgument,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows a shard.")] = 50_000,
    skip_damaged: Annotated[bool, typer.Option("--skip-damaged", help="Give up the rows of damaged shards.")] = False,
) -> None:
    """Join the shards, without the rows that were removed."""
    from ...retrieval.maintenance import compact_index

    before, after = compact_index(folder, max_rows=max_rows, skip_damaged=skip_damaged)
    typer.echo(f"{before} shards became {after} in {folder}")


@index_app.command()
def info(
    folder: IndexFolderArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read every shard; exit with 1 if one is damaged.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what an index holds and what made it."""
    from ...data.files.json_files import format_json
    from ...data.rows.printable import printable
    from ...retrieval.maintenance import describe_index

    found = describe_index(folder, verify=verify)
    if json:
        typer.echo(format_json(found), nl=False)
    else:
        width = max(map(len, found))
        for name, value in found.items():
            if isinstance(value, dict):
                value = ", ".join(f"{key} {one}" for key, one in value.items())
            elif isinstance(value, list):
                value = ", ".join(value)
            typer.echo(printable(f"{name:{width}}  {'-' if value in (None, '') else value}"))
    if found["damaged"]:
        raise typer.Exit(1)


__all__ = ["index_app"]
