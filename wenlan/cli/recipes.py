"""`wenlan recipes`: the recipes of the package listed, shown, and copied to be edited."""

from pathlib import Path
from typing import Annotated

import typer

recipes_app = typer.Typer(help="List, show or copy the recipes of the training commands.", no_args_is_help=True)
Recipe = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")]


@recipes_app.command("list")
def list_recipes() -> None:
    """Print the name of each shipped recipe and what it is."""
    from ..training.recipe import describe_recipe, shipped_recipes

    recipes = shipped_recipes()
    for name, path in recipes.items():
        typer.echo(f"{name:{max(map(len, recipes))}}  {describe_recipe(path)[1]}")


@recipes_app.command()
def show(recipe: Recipe) -> None:
    """Print a recipe."""
    from ..training.recipe import find_recipe

    typer.echo(find_recipe(recipe).read_text("utf-8"), nl=False)


@recipes_app.command()
def copy(
    recipe: Recipe,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; it must not exist. Default: NAME.yaml")
    ] = None,
) -> None:
    """Write a recipe to a file of one's own."""
    from ..training.recipe import describe_recipe, find_recipe

    path = find_recipe(recipe)
    output = output or Path(f"{path.stem}.yaml")
    if output.exists():
        raise FileExistsError(f"{output} exists already; give another --output.")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(path.read_text("utf-8"), "utf-8")
    command = " ".join(str(output) if word == path.stem else word for word in describe_recipe(path)[0].split())
    typer.echo(f"The recipe is in {output}. Edit it, then: {command}")


__all__ = ["recipes_app"]
