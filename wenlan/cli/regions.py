"""`wenlan extract-regions`, `import-regions` and `draw-regions`: region features to shards, and regions drawn."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import cli_errors, resume_hint

OutputFolder = Annotated[Path, typer.Option(help="Folder for the shards and the report; a stopped run goes on there.")]
TopK = Annotated[int | None, typer.Option(help="Classes kept of each region's distribution; all without it.")]
ShardSize = Annotated[int, typer.Option(help="Images a shard.")]
MaxBad = Annotated[float, typer.Option(help="A greater fraction of inputs left out ends in exit code 1.")]


def extract_regions(
    images: Annotated[Path, typer.Argument(help="A folder of images, a text file of paths, .jsonl or COCO .json.")],
    output: OutputFolder,
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    image_root: Annotated[Path | None, typer.Option(help="Folder of the images in a list, if not beside it.")] = None,
    min_boxes: Annotated[int, typer.Option(help="At least so many regions an image.")] = 10,
    max_boxes: Annotated[int, typer.Option(help="At most so many.")] = 100,
    threshold: Annotated[float, typer.Option(help="Confidence from which a box is a region.")] = 0.2,
    region_boxes: Annotated[
        str | None, typer.Option(help="proposals (MLMM), refined (BriVL 1.0), detections, refined_agnostic (LXMERT).")
    ] = None,
    top_k: TopK = None,
    batch_size: Annotated[int, typer.Option(help="Images of equal size a forward pass.")] = 8,
    shard_size: ShardSize = 256,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    num_workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
    max_bad_fraction: MaxBad = 0.1,
) -> None:
    """Write boxes, features and classes of the regions of all images; bad images are left out and listed."""
    with cli_errors(), resume_hint(output):
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
        Path | None, typer.Option(help="JSON with the images' sizes, to bring UNITER's boxes to pixels.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the detector that made them, for the record.")] = "imported",
    top_k: TopK = None,
    shard_size: ShardSize = 1000,
    max_bad_fraction: MaxBad = 0.1,
) -> None:
    """Turn feature files of bottom-up-attention, UNITER or UC2 into the shards that wenlan extract-regions writes."""
    with cli_errors(), resume_hint(output):
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


def draw_regions(
    image: Annotated[Path, typer.Argument(help="The image.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    output: Annotated[Path, typer.Option(help="The image to write; its name says the format, such as .png.")],
    threshold: Annotated[float, typer.Option(help="Confidence from which a box is drawn.")] = 0.3,
    max_boxes: Annotated[int, typer.Option(help="At most so many boxes.")] = 36,
    region_boxes: Annotated[
        str, typer.Option(help="detections, proposals (MLMM), refined (BriVL 1.0: no threshold), refined_agnostic.")
    ] = "detections",
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    scale: Annotated[float, typer.Option(help="Enlarges the image first, so that labels fit a small one.")] = 1.0,
    font: Annotated[Path | None, typer.Option(help="A font file, for names in other scripts.")] = None,
) -> None:
    """Draw the boxes of a detector with their names into an image."""
    with cli_errors():
        from PIL import Image

        from ..analysis.plots.boxes import draw_regions as draw
        from ..analysis.plots.boxes import name_regions
        from ..data.files.atomic import atomic_file
        from ..processing.image_decoding import decode_image
        from ..processing.regions.feature_extractor import RegionFeatureExtractor

        file_format = Image.registered_extensions().get(output.suffix.lower())
        if file_format not in Image.SAVE:
            raise ValueError(f"{output} is no name of an image; end it in .png or .jpg.")
        decoded = decode_image(image)
        extractor = RegionFeatureExtractor.from_pretrained(model, backend)
        regions = extractor.extract(
            [decoded], min_boxes=0, max_boxes=max_boxes, conf_threshold=threshold, region_boxes=region_boxes
        )
        drawn = draw(decoded, **name_regions(regions, extractor.config), scale=scale, font=font)
        with atomic_file(output) as unfinished:
            drawn.save(unfinished, format=file_format)
        typer.echo(f"{int(regions.attention_mask.sum())} boxes in {output}")


__all__ = ["draw_regions", "extract_regions", "import_regions"]
