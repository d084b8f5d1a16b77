"""`wenlan draw-regions`: a picture with what a region detector sees in it."""

from pathlib import Path
from typing import Annotated

import typer

from .short_errors import short_errors


def draw_regions(
    picture: Annotated[Path, typer.Argument(help="The picture.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    output: Annotated[Path, typer.Option(help="The picture to write; its name says the format, such as .png.")],
    threshold: Annotated[float, typer.Option(help="Confidence from which a box is drawn.")] = 0.3,
    max_boxes: Annotated[int, typer.Option(help="At most so many boxes.")] = 36,
    region_boxes: Annotated[
        str, typer.Option(help="detections, proposals (MLMM), refined (BriVL 1.0: no threshold), refined_agnostic.")
    ] = "detections",
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    scale: Annotated[float, typer.Option(help="Enlarges the picture first, so that labels fit a small one.")] = 1.0,
    font: Annotated[Path | None, typer.Option(help="A font file, for names in other scripts.")] = None,
) -> None:
    """Draws the boxes of a detector with their names into a picture."""
    with short_errors():
        from PIL import Image

        from .data import atomic_file
        from .processing import decode_image
        from .processing.regions import RegionFeatureExtractor, name_regions
        from .processing.regions import draw_regions as draw

        file_format = Image.registered_extensions().get(output.suffix.lower())
        if file_format not in Image.SAVE:
            raise ValueError(f"{output} is no name of a picture; end it in .png or .jpg.")
        image = decode_image(picture)
        extractor = RegionFeatureExtractor.from_pretrained(model, backend)
        regions = extractor.extract(
            [image], min_boxes=0, max_boxes=max_boxes, conf_threshold=threshold, region_boxes=region_boxes
        )
        drawn = draw(image, **name_regions(regions, extractor.config), scale=scale, font=font)
        with atomic_file(output) as unfinished:
            drawn.save(unfinished, format=file_format)
        typer.echo(f"{int(regions.attention_mask.sum())} boxes in {output}")


__all__ = ["draw_regions"]
