"""`wenlan extract-regions` and `wenlan import-regions`: pictures, or feature files of others, to shards of regions."""

from pathlib import Path
from typing import Annotated

import typer

from .short_errors import short_errors
from .stopped_runs import told_how_to_go_on

OutputFolder = Annotated[Path, typer.Option(help="Folder for the shards and the report; a stopped run goes on there.")]
TopK = Annotated[int | None, typer.Option(help="Classes kept of each region's distribution; all without it.")]
ShardSize = Annotated[int, typer.Option(help="Pictures a shard.")]
MaxBad = Annotated[float, typer.Option(help="A greater share of inputs left out ends in exit code 1.")]


def extract_regions(
    images: Annotated[Path, typer.Argument(help="A folder of pictures, a text file of paths, .jsonl or COCO .json.")],
    output: OutputFolder,
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures in a list, if not beside it.")] = None,
    min_boxes: Annotated[int, typer.Option(help="At least so many regions a picture.")] = 10,
    max_boxes: Annotated[int, typer.Option(help="At most so many.")] = 100,
    threshold: Annotated[float, typer.Option(help="Confidence from which a box is a region.")] = 0.2,
    region_boxes: Annotated[
        str | None, typer.Option(help="proposals (MLMM), refined (BriVL 1.0), detections, refined_agnostic (LXMERT).")
    ] = None,
    top_k: TopK = None,
    batch_size: Annotated[int, typer.Option(help="Pictures of equal size a forward pass.")] = 8,
    shard_size: ShardSize = 256,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    num_workers: Annotated[int, typer.Option(help="Threads that decode pictures.")] = 2,
    max_bad_fraction: MaxBad = 0.1,
) -> None:
    """Writes boxes, features and classes of the regions of all pictures; bad pictures are left out and listed."""
    with short_errors(), told_how_to_go_on(output):
        from .training_scripts.extract_regions import RegionChoice
        from .training_scripts.extract_regions import extract_regions as extract

        report = extract(
            images,
            output,
            model=model,
            backend=backend,
            image_root=image_root,
            choice=RegionChoice(min_boxes, max_boxes, threshold, region_boxes),
            top_k=top_k,
            batch_size=batch_size,
            shard_size=shard_size,
            dtype=dtype,
            device=device,
            num_workers=num_workers,
            max_bad_fraction=max_bad_fraction,
        )
        typer.echo(report)
        typer.echo(f"Read them: wenlan.data.read_regions({str(output)!r}). What was left out: {output}/report.json")


def import_regions(
    source: Annotated[Path, typer.Argument(help="A folder of .npz files (BUA, UNITER) or one with data.mdb (UNITER).")],
    output: OutputFolder,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read BUA's pickled `info`; nothing but NumPy arrays is admitted.")
    ] = False,
    sizes: Annotated[
        Path | None, typer.Option(help="JSON with the pictures' sizes, to bring UNITER's boxes to pixels.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the detector that made them, for the record.")] = "imported",
    top_k: TopK = None,
    shard_size: ShardSize = 1000,
    max_bad_fraction: MaxBad = 0.1,
) -> None:
    """Turns feature files of bottom-up-attention, UNITER or UC2 into the shards that wenlan extract-regions writes."""
    with short_errors(), told_how_to_go_on(output):
        from .data.region_import import import_regions as import_features

        report = import_features(
            source,
            output,
            allow_pickle=allow_pickle,
            sizes=sizes,
            model=model,
            top_k=top_k,
            shard_size=shard_size,
            max_bad_fraction=max_bad_fraction,
        )
        typer.echo(report)
        typer.echo(f"Read them: wenlan.data.read_regions({str(output)!r}). What was left out: {output}/report.json")


__all__ = ["extract_regions", "import_regions"]
