"""Count image-text pairs, one batch after the other, into a `PairReport`."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from ..rows.languages import ALL, languages_of
from ..rows.report import BadRowReport
from ..rows.scripts import SCRIPTS, main_script
from ..rows.types import PairExample
from ..rows.vocabulary import VocabularyCounts
from .caption_groups import fold_caption
from .dataset import NO_GROUP, TrainingPairs, as_list
from .report import PairReport
from .report_statistics import DuplicateCounter, quantiles, read_image
from .report_warnings import find_warnings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN_CAPTIONS = 5
BATCH = 1000  # captions tokenized at a time


def report_pairs(
    pairs: Iterable[PairExample] | TrainingPairs,
    *,
    source: str,
    bad_rows: BadRowReport | None = None,
    max_pairs: int | None = None,
    language: str = "zh",
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    max_tokens: int | None = None,
    batch_size: int | None = None,
    queue_size: int | None = None,
) -> PairReport:
    """Return the report on some pairs. Memory grows by 16 bytes a pair.

    Args:
        pairs: rows with `image` (bytes, path or PIL image) and `text` (one string), such as `TrainingPairs` and
            `StreamedPairs` give; with a `group_id` they count as grouped.
        bad_rows: what was left out; by default the attribute of that name of `pairs`, read at the end.
        language: of the captions, one of emoji7's, or "all".
        tokenizer: shows captions that are cut or that it does not know.
        max_tokens: where captions are cut; by default where the tokenizer says.
        batch_size: pairs that are contrasted at a time, over all devices.
        queue_size: keys of earlier batches that serve as negatives.

    Raises:
        ValueError: there are no pairs, or the language is unknown.
    """
    if language not in (*SCRIPTS, ALL):
        raise ValueError(f"The language is {language!r}; it must be one of {', '.join(SCRIPTS)}, or {ALL}.")
    counts = _Counts(None if tokenizer is None else VocabularyCounts(tokenizer, max_tokens))
    rows = iter(pairs)
    counted = islice(rows, max_pairs)
    while batch := list(islice(counted, BATCH)):
        counts.add(batch)
    bad_rows = bad_rows or getattr(pairs, "bad_rows", None)
    if not counts.pairs:
        why = "" if bad_rows is None else f"\n{bad_rows}"
        raise ValueError(f"{source} holds no pairs.{why}")
    report = PairReport(source, counts.pairs, language=language)
    report.is_sample = max_pairs is not None and next(rows, None) is not None
    if bad_rows is not None:
        report.bad_rows = dict(bad_rows.counts.most_common())
        report.repairs = dict(bad_rows.repairs.most_common())
        report.examples = dict(bad_rows.examples)
        report.bad_fraction = bad_rows.bad_fraction
        report.other_splits = dict(bad_rows.other_splits.most_common())
        report.not_looked_at = dict(bad_rows.not_looked_at)
    counts.summarize(report)
    is_grouped = not counts.ungrouped
    report.warnings = find_warnings(report, is_grouped=is_grouped, batch_size=batch_size, queue_size=queue_size)
    return report


class _Counts:
    """Counts over pairs, one batch after the other."""

    def __init__(self, vocabulary: VocabularyCounts | None) -> None:
        self.vocabulary = vocabulary
        self.pairs = self.texts = self.ungrouped = 0
        self.captions: DuplicateCounter[str] = DuplicateCounter(keep_values=True)
        self.images: DuplicateCounter[bytes] = DuplicateCounter()
        self.characters, self.short_sides = Counter[int](), Counter[int]()
        self.scripts: Counter[str] = Counter()

    def add(self, batch: list[PairExample]) -> None:
        """Count the pairs of a batch."""
        self.pairs += len(batch)
        for row in batch:
            self.ungrouped += row.get("group_id", NO_GROUP) == NO_GROUP
            for text in as_list(row["text"]):
                self.captions.add(fold_caption(text))
            image, side = read_image(row["image"])
            self.images.add(image)
            self.short_sides.update([] if side is None else [side])
        texts = [text for row in batch for text in as_list(row["text"])]
        self.texts += len(texts)
        self.characters.update(map(len, texts))
        self.scripts.update(map(main_script, texts))
        if self.vocabulary is not None:
            self.vocabulary.add(texts)

    def summarize(self, report: PairReport) -> None:
        """Write the numbers into a report."""
        report.duplicate_captions, report.duplicate_images = self.captions.repeated, self.images.repeated
        report.most_common_captions = self.captions.most_common(SHOWN_CAPTIONS)
        report.characters, report.short_sides = quantiles(self.characters), quantiles(self.short_sides)
        report.scripts = {script: count / self.texts for script, count in self.scripts.most_common()}
        expected = {"none"}.union(*(SCRIPTS[language] for language in languages_of(report.language)))
        report.other_language_fraction = sum(s for script, s in report.scripts.items() if script not in expected)
        if (vocabulary := self.vocabulary) is not None:
            report.max_tokens, report.tokens = vocabulary.max_tokens, quantiles(vocabulary.lengths)
            report.cut_fraction, report.unknown_fraction = vocabulary.cut_fraction, vocabulary.unknown_fraction
            report.unknown_text_fraction = vocabulary.unknown_text_fraction
            report.vocabulary_warnings = vocabulary.warnings("captions")


__all__ = ["report_pairs"]
