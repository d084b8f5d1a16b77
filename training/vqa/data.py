"""Questions to fine-tune MLMM on and to evaluate it by, joined with regions; what cannot be used is counted."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...data.captions.decontamination import Decontaminator
from ...data.regions.load import read_regions
from ...data.rows.report import TooManyBadRowsError
from ...data.rows.vocabulary import check_vocabulary
from ...data.vqa.dataset import QuestionFile, Questions
from ...data.vqa.load import QuestionSource, read_questions
from ...processing.processing_mlmm import MLMMProcessor
from .arguments import QuestionArguments

PIECE = 1000  # questions tokenised together
IN_TEST = "image of the test"


def load_training(args: QuestionArguments, processor: MLMMProcessor, test: Questions) -> Questions:
    """Return the questions to train on.

    Questions without answers, without regions, or about an image of the test are left out and counted.

    Raises:
        TooManyBadRowsError: more of a file than allowed cannot be used, or nothing can.
        The rest: as `load_files`.
    """
    train = load_files(args, args.sources(test=False), args.regions, processor)
    guard = Decontaminator()
    guard.add_images("test", (row["image_id"] for row in test.rows))
    for file in train.files:
        file.leave_out(IN_TEST, lambda row: guard.is_leak("train", row["image_id"]))
        file.leave_out("without annotation", lambda row: not row["answers"])
        file.leave_out("image without regions", lambda row: row["region_row"] < 0)
        bad = file.report.counts.total() - file.report.counts[IN_TEST]
        if not file.rows or bad > args.max_bad_fraction * (bad + len(file.rows)):
            raise TooManyBadRowsError(
                f"More than {args.max_bad_fraction:.0%} of the questions (or all) cannot be trained on. Give their "
                f"annotations, the regions of their images, and image_pattern as these are named.\n{file}"
            )
    return Questions(train.files, train.regions)


def load_test(args: QuestionArguments, processor: MLMMProcessor) -> Questions:
    """Return the questions to evaluate on; they stay without regions and without annotation.

    Raises:
        TooManyBadRowsError: more images than allowed have no regions.
        ValueError: two files have one name, as their files of answers would have.
        The rest: as `load_files`.
    """
    names = Counter(Path(path).name for path in args.test_questions)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"Two files of test questions are named {twice[0]}, as their answers would be; rename one.")
    test = load_files(args, args.sources(test=True), args.test_regions, processor)
    for file in test.files:
        blind = (row for row in file.rows if row["region_row"] < 0)
        missing = file.note("image without regions, answered without looking", blind)
        if not file.rows or missing > args.max_bad_fraction * len(file.rows):
            raise TooManyBadRowsError(
                f"More than {args.max_bad_fraction:.0%} of the questions (or all) are about images without regions; "
                f"give test_regions, and image_pattern as the images are named there.\n{file}"
            )
    return test


def load_files(
    args: QuestionArguments, sources: Sequence[QuestionSource], folders: Sequence[str], processor: MLMMProcessor
) -> Questions:
    """Return the questions of files, with the regions of their images.

    Raises:
        ValueError: two images of a file fit the same regions.
        FileNotFoundError, RegionShardError: as `read_regions` and `read_questions`.
    """
    if not sources:
        return Questions([])
    regions = read_regions(list(folders))
    region_rows = {name: row for row, name in enumerate(regions.with_format(None)["image_id"])}
    files = []
    for source in sources:
        data = read_questions(
            source, image_pattern=args.image_pattern, image_data=args.image_data, max_bad_fraction=args.max_bad_fraction
        )
        file = QuestionFile.join(source, data, region_rows)
        note_long_questions(file, processor)
        check_vocabulary(processor.tokenizer, [row["question"] for row in file.rows], what="questions")
        files.append(file)
    return Questions(files, regions)


def note_long_questions(file: QuestionFile, processor: MLMMProcessor) -> None:
    """Count the questions that the processor will cut."""
    limit = processor.max_text_length
    for start in range(0, len(file.rows), PIECE):
        rows = file.rows[start : start + PIECE]
        questions = [row["question"] for row in rows]
        ids = processor.tokenizer(questions, add_special_tokens=False, verbose=False)["input_ids"]
        longer = (row for row, pieces in zip(rows, ids, strict=True) if len(pieces) > limit)
        file.note(f"more than {limit} word pieces, cut", longer)


__all__ = ["load_test", "load_training"]
