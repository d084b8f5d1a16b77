"""Recipes of runs that are done in seconds: shipped ones with other fields."""

from pathlib import Path

import yaml
from wenlan.training.recipe import find_recipe

SMOKE = ["--use_cpu", "true", "--disable_tqdm", "true", "--bf16", "false", "--dataloader_num_workers", "0"]
SMALL_MLMM = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}


def read_recipe(name: str) -> dict:
    return yaml.safe_load(find_recipe(name).read_text("utf-8"))


def write_recipe(path: Path, name: str, **changes) -> str:
    """Writes a shipped recipe with other fields, of which None leaves one out. Returns the path."""
    recipe = read_recipe(name)
    for merged in changes.keys() & {"model_config", "image_processor"}:
        changes[merged] = recipe[merged] | changes[merged]
    recipe = {key: value for key, value in (recipe | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), "utf-8")
    return str(path)
