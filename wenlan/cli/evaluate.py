"""The command `wenlan evaluate`: a model on pairs of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..evaluation.retrieval.own_pairs import PairEvaluation

DRAWN = 12  # images
GRID = "image_to_text.png"


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or hub id of a BriVL, or of an MLMM with --regions.")],
    data: Annotated[Path, typer.Option(help="A file or folder of pairs, as training reads them.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="Of a file with a column split, else test; held-out: what finetune-brivl keeps from a file without."
        ),
    ] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the images, if not beside the file.")] = None,
    image_column: Annotated[str, typer.Option(help="Column with the image or its path.")] = "image",
    text_column: Annotated[str, typer.Option(help="Column with the caption or the captions, as text_zh.")] = "text",
    encoding: Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")] = None,
    detector: Annotated[str | None, typer.Option(help="Of BriVL 1.0: folder or hub id of a region detector.")] = None,
    regions: Annotated[str | None, typer.Option(help="Of an MLMM: folder that extract-regions wrote.")] = None,
    output: Annotated[Path | None, typer.Option(help=f"Folder for metrics.json and {GRID}.")] = None,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Stop if a greater fraction of the rows is bad.")
    ] = 0.1,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or captions at a time.")] = 32,
) -> None:
    """Print how well a model finds your images by their captions, and captions by images, beside chance."""
    from ..data.files.json_files import write_json
    from ..evaluation.retrieval.own_pairs import evaluate_model

    if output is not None and output.is_file():
        raise ValueError(f"{output} is a file; give a folder for the metrics.")
    found = evaluate_model(
        model,
        data,
        split=split,
        image_root=image_root,
        image_column=image_column,
        text_column=text_column,
        encoding=encoding,
        detector=detector,
        regions=regions,
        max_bad_fraction=max_bad_fraction,
        batch_size=batch_size,
    )
    typer.echo(f"{model} on {found.report}\n{found}")
    if output is not None:
        about = {"model": model, "data": str(data), "split": split, "text_column": text_column}
        write_json(output / "metrics.json", about | {"metrics": found.to_dict()})
        typer.echo(f"All metrics: {output / 'metrics.json'}{_draw(found, output / GRID)}")


def _draw(found: "PairEvaluation", path: Path) -> str:
    """Draw the three nearest captions of some images; return where the drawing is, or why there is none."""
    from ..analysis.plots.image_grid import PLAIN, RIGHT, WRONG, Cell, draw_grid
    from ..data.files.atomic import atomic_file
    from ..processing.image_decoding import decode_image

    pairs, images = found.pairs, list(found.pairs.images())
    cells = []
    for index in range(0, len(images), max(1, len(images) // DRAWN))[:DRAWN]:
        rows = slice(index, index + 1)
        own, scores = pairs.relevant_texts(rows)[0], found.scores.i2t(rows)[0]
        lines = [(f"● {pairs.texts[int(own.argmax())]}", PLAIN)]
        lines += [(pairs.texts[place], RIGHT if own[place] else WRONG) for place in (-scores).argsort()[:3]]
        cells.append(Cell(decode_image(images[index]), lines))
    title = f"image → caption: ● right, below the nearest of {len(pairs.texts)}"
    try:
        drawn = draw_grid(title, [cells[start : start + 4] for start in range(0, len(cells), 4)])
    except ValueError as error:  # letters that no font here has
        return f" (no drawing: {error})"
    with atomic_file(path) as unfinished:
        drawn.save(unfinished, format="PNG")
    return f", a drawing: {path}"


__all__ = ["evaluate"]
