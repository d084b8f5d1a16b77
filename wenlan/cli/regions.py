"""`wenlan extract-regions` and `import-regions`: region features to shards."""

from pathlib import Path
from typing import Annotated

import typer

from ..training.resume_hint import resume_hint
from .threads import NumProc, RayAddress

OutputFolder = Annotated[Path, typer.Option(help="Folder for the shards and the report; a stopped run resumes there.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Classes kept of each region's distribution; all without it.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Images a shard.")]
MaxBad = Annotated[float, typer.Option(min=0, max=1, help="A greater fraction of inputs left out ends in exit code 1.")]


def extract_regions(
    images: Annotated[Path, typer.Argument(help="A folder of images, a text file of paths, .jsonl or COCO .json.")],
    output: OutputFolder,
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    image_root: Annotated[Path | None, typer.Option(help="Folder of the images in a list, if not beside it.")] = None,
    min_boxes: Annotated[int, typer.Option(min=0, help="At least so many regions an image.")] = 10,
    max_boxes: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Confidence from which a box is a region.")] = 0.2,
    region_boxes: Annotated[
        str | None, typer.Option(help="proposals (MLMM), refined (BriVL 1.0), detections, refined_agnostic (LXMERT).")
    ] = None,
    top_k: TopK = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of equal size a forward pass.")] = 8,
    shard_size: ShardSize = 256,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Threads of a process that decode images.")] = 2,
    max_bad_fraction: MaxBad = 0.1,
    num_proc: NumProc = None,
    ray: RayAddress = None,
) -> None:
    """Write boxes, features and classes of the regions of all images; bad images are left out and listed."""
    with resume_hint(output):
        from ..pipelines.region_extraction import RegionChoice
        from ..pipelines.region_extraction import extract_regions as extract

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
            num_proc=num_proc,
            ray=ray,
        )
        typer.echo(report)
        typer.echo(f"Read them: wenlan.data.read_regions({str(output)!r}). What was left out: {output}/report.json")


def import_regions(
    source: Annotated[Path, typer.Argument(help="A folder of .npz files (BUA, UNITER) or one with data.mdb (UNITER).")],
    output: OutputFolder,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read BUA's pickled `info`: plain values and arrays; the rest is refused."),
    ] = False,
    sizes: Annotated[
        Path | None, typer.Option(help="JSON with the images' sizes, to bring UNITER's boxes to pixels.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the detector that made them, for the record.")] = "imported",
    top_k: TopK = None,
    shard_size: ShardSize = 1000,
    max_bad_fraction: MaxBad = 0.1,
) -> None:
    """Turn feature files of bottom-up-attention, UNITER or UC2 into the shards that wenlan extract-regions writes."""
    with resume_hint(output):
        from ..data.regions.import_features import import_regions as import_features

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
