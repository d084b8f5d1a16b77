"""`wenlan data`: reports on pairs, cleans them, reads captions of public data sets, draws scenes, chooses classes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .clean import clean

data_app = typer.Typer(
    help="Report on image-text pairs before training, clean them, draw some, or choose classes to tell apart.",
    no_args_is_help=True,
)


@data_app.command()
def report(
    source: Annotated[str, typer.Argument(help="A file or folder of pairs, shards, or emoji7.")],
    streaming: Annotated[bool, typer.Option(help="Read .tar or .parquet shards as a stream: a sample.")] = False,
    tokenizer: Annotated[str | None, typer.Option(help="Folder or hub id; shows cut and unknown text.")] = None,
    language: Annotated[str, typer.Option(help="Of the captions: zh, en, de, fr, cs, ja or ko.")] = "zh",
    image_root: Annotated[str | None, typer.Option(help="Folder of the images, if not beside the file.")] = None,
    image_column: Annotated[str, typer.Option(help="Column with the image or its path.")] = "image",
    text_column: Annotated[str, typer.Option(help="Column with the caption or the captions.")] = "text",
    split: Annotated[str, typer.Option(help="Of a file with a column split, such as train.")] = "all",
    encoding: Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the report here, as JSON.")] = None,
) -> None:
    """Print duplicates, lengths, scripts and bad rows of pairs, and the problems that harm training."""
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    from ..data.files.atomic import check_output_file
    from ..data.files.model_folder import open_pretrained
    from ..data.pairs.readers import find_pair_files
    from ..data.pairs.shards import find_shards
    from ..processing.text_inputs import check_tokenizer
    from ..training.brivl.data import DataArguments, load_pairs, report_data

    args = DataArguments(
        data=source,
        streaming=streaming,
        language=language,
        image_root=image_root,
        image_column=image_column,
        text_column=text_column,
        encoding=encoding,
        split=split,
        max_bad_fraction=1.0,
    )
    if output is not None:
        files: list[Path] = []
        if source != "emoji7":
            files = [Path(shard) for shard in find_shards(source)] if streaming else find_pair_files(Path(source))
        check_output_file(output, *files)
    loaded: PreTrainedTokenizerBase | None = None
    if tokenizer is not None:
        loaded = open_pretrained(AutoTokenizer, tokenizer, file=None)
        check_tokenizer(loaded, tokenizer, None)
    pairs, _ = load_pairs(args, seed=0)
    found = report_data(pairs, args, tokenizer=loaded)
    typer.echo(found)
    if output is not None:
        found.save(output)


data_app.command()(clean)


if TYPE_CHECKING:
    from ..data.captions.rows import CaptionRows

RECIPE_FIELDS = {"val": "validation_captions", "test": "test_captions"}  # by how a split's name begins


@data_app.command()
def captions(
    kind: Annotated[str, typer.Argument(help="multi30k, coco, stair, coco-cn, conceptual, lines or folder.")],
    source: Annotated[Path, typer.Argument(help="The file or folder of the data set, as it was published.")],
    output: Annotated[Path, typer.Option(help="Folder for SPLIT/captions_LANGUAGE.jsonl.")],
    test_set: Annotated[
        list[str] | None,
        typer.Option(help="KIND=SOURCE or a folder written here, whose test images are left out; again for more."),
    ] = None,
    strict: Annotated[bool, typer.Option(help="Stop if a test image is in another list.")] = False,
    split_file: Annotated[Path | None, typer.Option(help="dataset_coco.json: splits of coco and stair files.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Of the captions (coco, conceptual), or to choose (multi30k).")
    ] = None,
    task: Annotated[Literal[1, 2] | None, typer.Option(help="Of multi30k: 1 (one caption) or 2 (five).")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Of multi30k, as its files are named.")] = None,
    translated: Annotated[bool, typer.Option(help="Of coco-cn: the translated captions.")] = False,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the images; each must be there then.")] = None,
    image_column: Annotated[str | None, typer.Option(help="Of conceptual: number of a column of paths.")] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Read no more.")] = None,
    max_bad_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="Stop above this fraction of bad rows.")
    ] = None,
) -> None:
    """Turn the captions of a public data set into files that training reads, without images of any test set."""
    from ..data.captions.decontamination import Decontaminator, is_test
    from ..data.captions.load import read_captions
    from ..data.captions.writer import write_captions

    if language and kind != "multi30k" and len(language) > 1:
        raise ValueError(f"{kind} is in one language; give --language once.")
    rows = read_captions(
        kind,
        source,
        languages=language if kind == "multi30k" else None,
        language=language[0] if language and kind != "multi30k" else None,
        split_file=split_file,
        task=task,
        splits=split,
        translated=translated or None,
        image_column=image_column,
        image_root=image_root,
        max_rows=max_rows,
        max_bad_fraction=max_bad_fraction,
    )
    rows.is_logged = True  # it is printed below
    guard = Decontaminator(strict=strict)
    for other in test_set or []:
        guard.add_test_set(other, _read_test_set(other, split_file))
    if own := [row for row in rows if is_test(row)]:
        guard.add_test_set(kind, own)
    written = write_captions(guard.subtract(kind, rows), output)
    for account in (rows.report, guard, written):
        typer.echo(account)
    typer.echo("In a recipe of wenlan finetune-retrieval:")
    for name in dict.fromkeys(split for split, _ in written.counts):
        part = next((field for word, field in RECIPE_FIELDS.items() if name.startswith(word)), "captions")
        typer.echo(f"  {part}: {output / name}")


def _read_test_set(given: str, split_file: Path | None) -> "CaptionRows":
    """Return the rows of KIND=SOURCE, or of a folder."""
    from ..data.captions.load import KINDS, kind_options, read_captions

    kind, separator, source = given.partition("=")
    if not separator or kind not in KINDS:
        kind, source = "folder", given
    takes_splits = "split_file" in kind_options(kind) and Path(source) != split_file
    return read_captions(kind, source, split_file=split_file if takes_splits else None)


@data_app.command()
def scenes(
    output: Annotated[Path, typer.Option(help="Folder that gets a folder for each split.")],
    split: Annotated[
        list[str] | None,
        typer.Option(help="detect, pretrain, finetune, validation, test or test_style; again for more. Default: all."),
    ] = None,
    size: Annotated[str, typer.Option(help="Scenes of each split: a number, or a preset: tests, cpu or gpu.")] = "cpu",
    num_classes: Annotated[int, typer.Option(min=1, help="Only the first so many classes.")] = 128,
    canvas: Annotated[int, typer.Option(min=1, help="Pixels a side.")] = 192,
    image_format: Annotated[Literal["png", "webp", "jpg"], typer.Option(help="Of the images.")] = "png",
    twins: Annotated[
        bool,
        typer.Option("--twins", help="Each scene also mirrored, left to right, and captions that tell the two apart."),
    ] = False,
) -> None:
    """Draw EmojiScenes: images with exact boxes, captions in seven languages, questions and answers."""
    from ..data.emoji_scenes.dataset import SPLIT_SEEDS, parse_size, split_size
    from ..data.emoji_scenes.export import write_emoji_scenes

    splits, wanted = split or list(SPLIT_SEEDS), parse_size(size)
    for name in splits:  # all are checked before the first is drawn
        split_size(name, wanted)
    for name in splits:
        is_new = write_emoji_scenes(
            output,
            name,
            wanted,
            num_classes=num_classes,
            canvas=canvas,
            image_format=image_format,
            twins=twins,
            show_progress=True,
        )
        number, kind = len(os.listdir(output / name / "images")), "mirrored twins" if twins else "scenes"
        typer.echo(f"{output / name}  {number} {kind}{'' if is_new else ', complete already'}")


@data_app.command()
def paraphrases(
    output: Annotated[Path, typer.Option(help="Folder that gets SPLIT/templates, sentences and paraphrases.")],
    split: Annotated[str, typer.Option(help="Held scenes: validation, test or test_style.")] = "test",
    size: Annotated[str, typer.Option(help="As for scenes.")] = "cpu",
    image_format: Annotated[Literal["png", "webp", "jpg"], typer.Option(help="As for scenes.")] = "png",
) -> None:
    """Write captions and questions about held scenes in words that no model is trained on."""
    from ..data.emoji_scenes.dataset import parse_size
    from ..data.emoji_scenes.paraphrases.export import write_paraphrases

    folder = write_paraphrases(output, split, parse_size(size), image_format=image_format)
    typer.echo(f"{folder}: templates, sentences, paraphrases")


@data_app.command()
def class_list(
    source: Annotated[
        Path, typer.Argument(help="Tab-separated: class_id, name_zh, name_en, synonyms_zh; a class a row.")
    ],
    output: Annotated[Path, typer.Option(help="The list, a .tsv file; a report with its name and .json is beside it.")],
    count: Annotated[int, typer.Option(min=2, help="How many classes.")] = 200,
    back_translate: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub id of a model that translates Chinese into English: only names whose translation "
            "shares a word with name_en stay. Capitals, the, of and their like do not count; tigers is not tiger."
        ),
    ] = None,
) -> None:
    """Choose classes for zero-shot classification by a rule that the list tells: short and unique Chinese names."""
    from ..data.zero_shot.class_list_builder import write_class_list

    typer.echo(write_class_list(source, output, count=count, back_translation_model=back_translate))
    typer.echo(f"The classes: {output}, why the others are not among them: {output.with_suffix('.json')}")


__all__ = ["captions", "class_list", "data_app", "paraphrases", "scenes"]
