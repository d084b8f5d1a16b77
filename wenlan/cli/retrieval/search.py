"""`wenlan search`: a table of hits in the terminal, as JSON, or as a grid of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...retrieval.hits import Hits

COLUMNS, CELL = 4, 200  # of the grid; a cell's image in pixels


def search(
    index: Annotated[Path, typer.Argument(help="The folder of an index; see `wenlan index build`.")],
    text: Annotated[str | None, typer.Option(help="A sentence, in a language that the model knows.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image to search with.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many hits.")] = 12,
    where: Annotated[
        str | None, typer.Option(help="Condition on the columns of the index: \"path like 'photos/2024/%'\".")
    ] = None,
    late: Annotated[
        bool | None,
        typer.Option("--late/--no-late", help="Order by late interaction of tokens; by default if the index has any."),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Folder or hub id of an MLMM for retrieval, which orders the first hits anew.")
    ] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Hits that --rerank looks at, 50 by default.")] = None,
    weight: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the first stage in the order, beside --rerank.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the hits into this image, such as hits.png.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
    model: Annotated[str | None, typer.Option(help="Where the model of the index lies now, if it was moved.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; a GPU if there is one.")] = None,
    skip_damaged: Annotated[bool, typer.Option("--skip-damaged", help="Leave damaged shards out.")] = False,
) -> None:
    """Find the images or sentences of an index that are nearest to a sentence or an image."""
    from ...data.files.json_files import format_json
    from ...retrieval.search import SearchEngine

    if picture is not None:
        _check_picture(picture, image)
    engine = SearchEngine.open(index, model=model, device=device, skip_damaged=skip_damaged)
    if engine.folder.damaged:
        typer.secho(f"Left out, damaged: {', '.join(engine.folder.damaged)}", fg="red", err=True)
    hits = engine.search(
        text=text, image=image, k=k, filter=where, late=late, rerank=rerank, candidates=candidates, weight=weight
    )
    if json:
        typer.echo(format_json(hits.to_dicts()), nl=False)
    else:
        _print_table(hits)
    if picture is not None:
        _draw(picture, hits, text or f"→ {image}", image)
        typer.echo(f"{len(hits)} hits drawn in {picture}", err=json)


def _print_table(hits: "Hits") -> None:
    from rich.console import Console
    from rich.table import Table

    if not hits:
        typer.echo("No row of the index meets --where.")
        return
    rows = hits.to_dicts()
    names = [
        name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("path", "size", "modified")
    ]
    table = Table("", *names)
    for place, row in enumerate(rows, start=1):
        values = (_format(row.get(name)) for name in names)
        table.add_row(str(place), *values)
    Console(markup=False, highlight=False, soft_wrap=False).print(table)


def _format(value: object) -> str:
    from ...data.rows.printable import printable

    return f"{value:.3f}" if isinstance(value, float) else printable("" if value is None else str(value))


def _check_picture(picture: Path, *sources: Path | None) -> None:
    """Raise ValueError before anything is searched if the picture cannot be written."""
    from PIL import Image

    from ...data.files.atomic import check_output_file

    if Image.registered_extensions().get(picture.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"{picture} is no name of an image; end it in .png or .jpg.")
    check_output_file(picture, *(source for source in sources if source is not None))


def _draw(picture: Path, hits: "Hits", title: str, query: Path | None) -> None:
    from PIL import Image

    from ...analysis.plots.fonts import readable
    from ...analysis.plots.image_grid import PLAIN, RIGHT, Cell, draw_grid
    from ...data.files.atomic import atomic_file

    cells = [] if query is None else [Cell(_open(query), [("?", RIGHT)])]
    for place, hit in enumerate(hits, start=1):
        score = next(one for one in (hit.rerank_score, hit.late_score, hit.score) if one is not None)
        name = readable(hit.id, f"#{place}")
        opened = None if hit.path is None else _open(hit.path)
        missing = [("cannot be opened", PLAIN)] if opened is None and hit.path is not None else []
        cells.append(Cell(opened, [(f"{place} · {score:.3f}", PLAIN), (name, PLAIN), *missing]))
    grid = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    drawn = draw_grid(readable(title, "query"), grid or [[Cell(None, [("no hits", PLAIN)])]], image_size=CELL)
    with atomic_file(picture) as unfinished:
        drawn.save(unfinished, format=Image.registered_extensions()[picture.suffix.lower()])


def _open(path: Path) -> "Image | None":
    from ...processing.image_decoding import ImageDecodingError, decode_image

    try:
        return decode_image(path)
    except ImageDecodingError:
        return None


__all__ = ["search"]
