"""Warnings about problems that harm training, from the numbers of a data report, with what to do then."""

from .report import PairReport

# Fractions of the pairs above which a warning is due.
DUPLICATE_CAPTIONS = 0.05
DUPLICATE_IMAGES = 0.01
LABEL_LIKE = 0.9  # of the captions come again
OTHER_LANGUAGE = 0.2
BAD_ROWS = 0.01


def find_warnings(report: PairReport, *, is_grouped: bool, batch_size: int | None, queue_size: int | None) -> list[str]:
    """Return one sentence of what is wrong and one of what to do for each thing, the gravest first.

    Args:
        is_grouped: rows that must not be each other's negatives are known.
        batch_size, queue_size: None = not known.
    """
    n = report.pairs
    captions, images = report.duplicate_captions / n, report.duplicate_images / n
    warnings = []
    if batch_size is not None and n < batch_size and not report.is_sample:
        warnings.append(
            f"{n} pairs are fewer than a batch of {batch_size}: a step has fewer negatives than it is meant to. Add "
            "pairs or lower per_device_train_batch_size."
        )
    if report.other_language_fraction > OTHER_LANGUAGE:
        scripts = ", ".join(script for script in report.scripts if script != "none")
        warnings.append(
            f"{report.other_language_fraction:.0%} of the captions are not written as {report.language!r} is (found: "
            f"{scripts}). Give the right --language, and text weights and a tokenizer of it."
        )
    warnings += report.vocabulary_warnings
    if captions > LABEL_LIKE:
        warnings.append(
            f"Only {n - report.duplicate_captions} of {n} captions differ, as labels do: most pairs of a batch say the "
            "same. Set duplicate_captions to positive, and write longer captions if you can."
        )
    elif captions > DUPLICATE_CAPTIONS and not is_grouped:
        warnings.append(
            f"{captions:.0%} of the captions are those of an earlier pair: the model is told that they do not fit "
            "images which they fit. Set duplicate_captions to mask or positive."
        )
    if images > DUPLICATE_IMAGES:
        warnings.append(
            f"{images:.0%} of the images come again with another caption: they become each other's negatives. "
            "Write an image once, with the list of its captions as its text."
        )
    if queue_size is not None and n < queue_size and not is_grouped and not report.is_sample:
        warnings.append(
            f"The queue holds {queue_size} keys and there are {n} pairs: a pair's own earlier keys become its "
            "negatives. Set queue_size of the model configuration below the number of pairs."
        )
    if report.bad_fraction > BAD_ROWS:
        warnings.append(
            f"{report.bad_fraction:.0%} of the rows were left out, most of them for {next(iter(report.bad_rows))!r}. "
            "Check the examples above."
        )
    return warnings


__all__ = ["find_warnings"]
