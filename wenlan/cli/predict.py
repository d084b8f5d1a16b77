"""Use of a trained model: `wenlan zero-shot`, `embed`, `answer` and `draw-regions`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from ..training.resume_hint import resume_hint
from .threads import NumProc, RayAddress

BriVLFolder = Annotated[str, typer.Argument(help="Folder or hub id of a BriVL model.")]


def zero_shot(
    model: BriVLFolder,
    images: Annotated[list[Path], typer.Argument(help="Images to label.")],
    labels: Annotated[
        str, typer.Option(help="Candidates, separated by commas or 、: 猫,狗,飞机. Or a text file, such as names.txt.")
    ],
    template: Annotated[
        str | None, typer.Option(help="Sentence around a label; {} is the label. Default: the model's own.")
    ] = None,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="A greater fraction of images left out ends in exit code 1.")
    ] = 0.1,
) -> None:
    """Print how likely each label is for each image."""
    from transformers import pipeline

    from ..data.rows.printable import printable
    from ..data.rows.report import BadRowError, BadRowReport
    from ..data.rows.text_files import open_text
    from ..data.rows.vocabulary import check_vocabulary
    from ..pipelines.checked_pipelines import check_template, distinct_labels
    from ..pipelines.open_brivl import open_brivl
    from ..processing.image_decoding import ImageDecodingError, decode_image

    if Path(labels).suffix and Path(labels).is_file():
        with open_text(Path(labels)) as lines:
            candidates = distinct_labels(lines)
    else:
        candidates = distinct_labels(re.split(r"[,，、､،;；|\n]", labels))
    brivl, processor = open_brivl(model)
    classify = pipeline(
        "zero-shot-image-classification",
        model=brivl,
        tokenizer=processor.tokenizer,
        image_processor=processor.image_processor,
    )
    template = brivl.config.hypothesis_template if template is None else template
    check_template(template)
    check_vocabulary(processor.tokenizer, [template.replace("{}", label) for label in candidates], what="labels")
    report = BadRowReport("images")
    for path in images:
        try:
            image = decode_image(path, as_original=processor.image_processor.as_original)
            scores = classify(image, candidate_labels=candidates, hypothesis_template=template)
        except ImageDecodingError as error:
            report.add_bad_row(BadRowError.of_image(error), str(path))
            typer.secho(f"{printable(str(path))}  skipped: {error}", fg="red", err=True)
        else:
            found = "  ".join(f"{row['label']} {row['score']:.1%}" for row in scores)
            typer.echo(f"{printable(str(path))}  {found}")
            report.keep_rows()
    report.raise_above(max_bad_fraction)


def embed(
    model: BriVLFolder,
    source: Annotated[Path, typer.Argument(help="A folder of images, a text file with one sentence a line, or pairs.")],
    output: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    detector: Annotated[
        str | None, typer.Option(help="Folder or hub id of a region detector: BriVL 1.0 looks at its boxes.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Of pairs: the column with the captions, as text_zh.")] = "text",
    split: Annotated[str | None, typer.Option(help="Of pairs with a column split, such as test; else all.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or sentences at a time.")] = 32,
    shard_size: Annotated[int, typer.Option(min=1, help="Images or sentences that a kill can cost at most.")] = 256,
    max_bad_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="A greater fraction left out ends in exit code 1.")
    ] = 0.1,
    encoding: Annotated[str | None, typer.Option(help="Of a text file, such as gb18030 or big5.")] = None,
    num_proc: NumProc = None,
    ray: RayAddress = None,
) -> None:
    """Write the embeddings of images or sentences to a Parquet file with the columns `id` and `embedding`.

    Of pairs (.jsonl, .csv, .tsv, .parquet) the captions are embedded. The same command resumes a run that was stopped.
    """
    from ..retrieval.embed import embed_to_parquet

    with resume_hint(output):
        report = embed_to_parquet(
            model,
            source,
            output,
            detector=detector,
            text_column=text_column,
            split=split,
            batch_size=batch_size,
            shard_size=shard_size,
            max_bad_fraction=max_bad_fraction,
            encoding=encoding,
            num_proc=num_proc,
            ray=ray,
        )
    typer.echo(f"{report}\n{report.rows_kept} embeddings in {output}")


def answer(
    model: Annotated[str, typer.Argument(help="Folder or hub id of an MLMM for visual question answering.")],
    image: Annotated[Path, typer.Argument(help="The image.")],
    question: Annotated[list[str], typer.Option(help="In any of the seven languages; may be given several times.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many answers.")] = 3,
    detector: Annotated[
        str | None, typer.Option(help="Folder or hub id of the region detector, if the model's folder has none.")
    ] = None,
) -> None:
    """Print the best answers to a question about an image, each with its score."""
    from transformers import pipeline

    from ..data.files.model_folder import PROCESSOR, open_pretrained
    from ..data.rows.vocabulary import check_vocabulary
    from ..modeling_mlmm.vqa import MLMMForVisualQuestionAnswering
    from ..processing.processing_mlmm import MLMMProcessor

    mlmm = open_pretrained(MLMMForVisualQuestionAnswering, model, is_whole=True)
    processor = open_pretrained(MLMMProcessor, model, file=PROCESSOR)
    pipe = pipeline("wenlan-vqa", model=mlmm, processor=processor)  # type: ignore[call-overload]  # ours, by name
    if detector is not None:
        pipe.processor.detector = detector
    check_vocabulary(processor.tokenizer, question, what="questions")
    for text, answers in zip(question, pipe(image=image, question=question, top_k=top_k), strict=True):
        found = "  ".join(f"{one['answer']} {one['score']:.1%}" for one in answers)
        typer.echo(f"{text}  {found}")


def draw_regions(
    image: Annotated[Path, typer.Argument(help="The image.")],
    model: Annotated[str, typer.Option(help="Folder or hub id of a region detector.")],
    output: Annotated[Path, typer.Option(help="The image to write; its name says the format, such as .png.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Confidence from which a box is drawn.")] = 0.3,
    max_boxes: Annotated[int, typer.Option(min=1, help="At most so many boxes.")] = 36,
    region_boxes: Annotated[
        str, typer.Option(help="detections, proposals (MLMM), refined (BriVL 1.0: no threshold), refined_agnostic.")
    ] = "detections",
    backend: Annotated[str, typer.Option(help="native or detectron2.")] = "native",
    scale: Annotated[float, typer.Option(help="Enlarges the image first, so that labels fit a small one.")] = 1.0,
    font: Annotated[Path | None, typer.Option(help="A font file, for names in other scripts.")] = None,
) -> None:
    """Draw the boxes of a detector with their names into an image."""
    from PIL import Image

    from ..analysis.plots.boxes import draw_regions as draw
    from ..analysis.plots.boxes import name_regions
    from ..data.files.atomic import atomic_file, check_output_file
    from ..processing.image_decoding import decode_image
    from ..processing.regions.feature_extractor import RegionFeatureExtractor

    file_format = Image.registered_extensions().get(output.suffix.lower())
    if file_format not in Image.SAVE:
        raise ValueError(f"{output} is no name of an image; end it in .png or .jpg.")
    check_output_file(output, image)
    decoded = decode_image(image)
    extractor = RegionFeatureExtractor.from_pretrained(model, backend)
    regions = extractor.extract(
        [decoded], min_boxes=0, max_boxes=max_boxes, conf_threshold=threshold, region_boxes=region_boxes
    )
    drawn = draw(decoded, **name_regions(regions, extractor.config), scale=scale, font=font)
    with atomic_file(output) as unfinished:
        drawn.save(unfinished, format=file_format)
    typer.echo(f"{int(regions.attention_mask.sum())} boxes in {output}")


__all__ = ["answer", "draw_regions", "embed", "zero_shot"]
