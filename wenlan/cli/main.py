"""The `wenlan` command. Heavy packages load inside the commands, so that `wenlan --help` is quick."""

from pathlib import Path
from typing import Annotated

import typer

from .convert import convert_app, export_app
from .data import data_app
from .errors import cli_errors
from .predict import answer
from .regions import draw_regions, extract_regions, import_regions
from .translate import translate_captions

app = typer.Typer(
    help="BriVL and MLMM: search and label images with sentences, ask about them; train on your own data.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

app.add_typer(convert_app, name="convert")
app.add_typer(data_app, name="data")
app.add_typer(export_app, name="export")
app.command()(answer)
app.command()(draw_regions)
app.command()(extract_regions)
app.command()(import_regions)
app.command()(translate_captions)

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
TableWords = Annotated[
    list[str] | None, typer.Argument(metavar="[RECIPE]...", help="One for each test set; by default EmojiScenes.")
]
ModelFolder = Annotated[str, typer.Argument(help="Folder or hub id of a BriVL model.")]


@app.command()
def quickstart(
    output_dir: Annotated[Path, typer.Option(help="Where model, report and images go.")] = Path("runs/quickstart"),
    recipe: Annotated[str, typer.Option(help="Recipe file or name.")] = "brivl_tiny",
    max_steps: Annotated[int | None, typer.Option(help="Fewer steps than the recipe: a smoke run.")] = None,
    cached_views: Annotated[int | None, typer.Option(help="Fewer views of each image: a smoke run.")] = None,
) -> None:
    """Train a small BriVL on the embedded emoji data, evaluate it, use it, and write a report with images."""
    from ..demos.brivl import run_quickstart

    overrides = {"max_steps": max_steps, "cached_views": cached_views}
    with cli_errors():
        run_quickstart(output_dir, recipe, {name: value for name, value in overrides.items() if value is not None})


@app.command("demo-mlmm")
def demo_mlmm(
    output_dir: Annotated[Path, typer.Option(help="Where everything goes; a stopped run goes on there.")] = Path(
        "runs/demo_mlmm"
    ),
    scenes: Annotated[str, typer.Option(help="Size of EmojiScenes: tests, cpu, gpu, or a number.")] = "cpu",
    detector: Annotated[str | None, typer.Option(help="Folder of a trained detector, instead of training it.")] = None,
) -> None:
    """Train a small MLMM end to end: detector, regions, pre-training; then retrieval, questions, attention."""
    from ..demos.mlmm import run_demo_mlmm

    with cli_errors():
        run_demo_mlmm(output_dir, scenes=int(scenes) if scenes.isdigit() else scenes, detector=detector)


@app.command("pretrain-brivl", context_settings=PASS_ON)
def pretrain_brivl(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="Recipe file or name, e.g. brivl_small.")]
) -> None:
    """Pre-train BriVL from a recipe; further options such as --learning_rate 1e-4 override its fields."""
    from ..training_scripts.pretrain_brivl import main

    with cli_errors():
        main([recipe, *context.args])


@app.command("pretrain-mlmm", context_settings=PASS_ON)
def pretrain_mlmm(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="Recipe file or name, e.g. mlmm_tiny.")]
) -> None:
    """Pre-train MLMM from a recipe; further options such as --learning_rate 1e-4 override its fields."""
    from ..training_scripts.pretrain_mlmm import main

    with cli_errors():
        main([recipe, *context.args])


@app.command("finetune-vqa", context_settings=PASS_ON)
def finetune_vqa(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="Recipe file or name, e.g. vqa_tiny.")]
) -> None:
    """Fine-tune MLMM to answer questions, from a recipe; options such as --learning_rate 1e-4 override its fields."""
    from ..training_scripts.finetune_vqa import main

    with cli_errors():
        main([recipe, *context.args])


@app.command("finetune-retrieval", context_settings=PASS_ON)
def finetune_retrieval(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="Recipe file or name, e.g. retrieval_tiny.")]
) -> None:
    """Fine-tune MLMM or BriVL to retrieval from a recipe, and evaluate it; further options override its fields."""
    from ..training_scripts.finetune_retrieval import main

    with cli_errors():
        main([recipe, *context.args])


@app.command("table3", context_settings=PASS_ON)
def table3(words: TableWords = None) -> None:
    """Make the paper's table 3: MLMM tuned to retrieval on English, on each language, and on all.

    Own options: --output_dir, --resume, --settings, --test_sets, --comparable; others override the recipes' fields.
    """
    from ..training_scripts.reproduce_table3 import main

    with cli_errors():
        main(words or [])


@app.command("table4", context_settings=PASS_ON)
def table4(words: TableWords = None) -> None:
    """Make the paper's table 4: MLMM tuned to questions, by language and kind of question.

    Own options: --output_dir, --resume, --test_sets, --comparable; others override the recipes' fields.
    """
    from ..training_scripts.reproduce_table4 import main

    with cli_errors():
        main(words or [])


@app.command("train-detector", context_settings=PASS_ON)
def train_detector(
    context: typer.Context, recipe: Annotated[str, typer.Argument(help="Recipe file or name, e.g. detector_tiny.")]
) -> None:
    """Train a region detector from a recipe; further options such as --max_steps 100 override its fields."""
    from ..training_scripts.train_region_detector import main

    with cli_errors():
        main([recipe, *context.args])


@app.command("zero-shot")
def zero_shot(
    model: ModelFolder,
    images: Annotated[list[Path], typer.Argument(help="Images to label.")],
    labels: Annotated[str, typer.Option(help="Candidate labels, separated by commas: 猫,狗,飞机")],
    template: Annotated[str, typer.Option(help="Sentence around a label; {} is the label.")] = "{}",
) -> None:
    """Print how likely each label is for each image."""
    from transformers import pipeline

    from ..processing.image_decoding import ImageDecodingError, decode_image

    candidates = [label.strip() for label in labels.replace("，", ",").split(",") if label.strip()]
    with cli_errors():
        if not candidates:
            raise ValueError("Give at least one label: --labels 猫,狗")
        classify = pipeline("zero-shot-image-classification", model=model)
        failures = 0
        for path in images:
            try:
                scores = classify(decode_image(path), candidate_labels=candidates, hypothesis_template=template)
            except ImageDecodingError as error:
                failures += 1
                typer.secho(f"{path}  skipped: {error}", fg="red", err=True)
            else:
                typer.echo(f"{path}  " + "  ".join(f"{row['label']} {row['score']:.1%}" for row in scores))
        if failures == len(images):
            raise ValueError("No image could be read.")


@app.command()
def embed(
    model: ModelFolder,
    source: Annotated[Path, typer.Argument(help="A folder of images, or a text file with one sentence a line.")],
    output: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    detector: Annotated[
        str | None, typer.Option(help="Folder or hub id of a region detector: BriVL 1.0 looks at its boxes.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images or sentences at a time.")] = 32,
) -> None:
    """Write the embeddings of images or sentences to a Parquet file with the columns `id` and `embedding`."""
    from ..retrieval.embed import embed_to_parquet

    with cli_errors():
        typer.echo(embed_to_parquet(model, source, output, detector=detector, batch_size=batch_size))


__all__ = ["app"]
