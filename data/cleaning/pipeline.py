"""Weakly correlated crawls to pairs that a model can learn from: `clean_pairs`, which applies the rules in their order.

Texts that stand loosely beside their image are kept on purpose: no rule asks whether the two belong together. A
*caption* is one text of a row, a *image* its file or bytes. An image's *key* is the fingerprint of its path, or of
its bytes where the file of pairs holds these: rows with the same key share one image.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ..files.atomic import atomic_files
from ..files.hashing import fingerprint
from ..files.json_files import write_json
from ..files.lock import output_lock
from ..pairs.readers import find_pair_files, read_files
from ..pairs.writers import open_pair_writer, schema_with_images
from ..rows.report import BadRowError
from ..rows.unlisted_images import UnlistedImages
from .cooccurrence import PairCounter, PairRules
from .facts_log import FactsLog
from .image_rules import ImageFacts, examine_image
from .near_duplicates import NearDuplicateIndex
from .row import CaptionRule, CrawlRow
from .settings import CleanReport, CleanSettings
from .text_rules import WordList, count_han, decode_text, han_fraction, traditional_to_simplified

REPORT_NAME = "clean_report.json"
PAIR_RULES = ("cooccurring_text", "cooccurring_image", "equal_pairs")  # count before they evaluate
DUPLICATE_RULES = ("exact_duplicates", "near_duplicates")
IMAGE_RULES = ("image_readable", "image_side", "image_aspect", "image_bytes", "image_colour", *DUPLICATE_RULES)


def clean_pairs(
    source: str | Path,
    output_dir: str | Path,
    *,
    decode: Callable[[bytes], Image.Image],
    image_root: str | Path | None = None,
    image_column: str = "image",
    text_column: str = "text",
    encoding: str | None = None,
    settings: CleanSettings | None = None,
    workers: int = 1,
) -> CleanReport:
    """Write the pairs that pass the rules to `output_dir`, in the order of the source, and `clean_report.json`.

    The source is read twice, since co-occurring and equal pairs have to be counted first; images are read once a row.
    Memory grows by the tables of fingerprints alone. Cleaning the output once more leaves nothing out and changes
    nothing. A run that was killed is resumed by the same call: what it found out about images is not looked for again.

    Args:
        source: as for `read_pairs`.
        output_dir: gets `pairs.jsonl`, whose paths are relative to the image root and which keeps the rows' other
            fields, or `pairs.parquet` where the source holds images as bytes.
        decode: the image in RGB from its encoded bytes; raises ValueError with an optional `cause`. With all of
            `IMAGE_RULES` off it is not called, and images need not exist.
        image_root: the folder that image paths are relative to and must not leave; by default the file's own.
        image_column: holds a path, bytes, or {"bytes", "path"}.
        text_column: holds a string or a list of captions.
        encoding: of a text file, as for `read_pairs`.
        settings: which rules are applied; by default all that need no further input.
        workers: threads that read and decode images; the result does not depend on it.

    Raises:
        FileNotFoundError: no such file.
        ImportError: `simplified` without OpenCC.
        OSError: the output cannot be written; an earlier one stays as it was.
        ValueError: the source lacks a column or would be overwritten, a word list is not UTF-8, no pair is left, or
            another process writes into the folder; an earlier output stays as it was.
    """
    files = find_pair_files(Path(source))
    columns, output_dir = (image_column, text_column), Path(output_dir)
    schema = schema_with_images(files[0], columns)
    output = output_dir / ("pairs.jsonl" if schema is None else "pairs.parquet")
    if output.resolve() in {file.resolve() for file in files}:
        raise ValueError(f"{output} is the source and would be replaced; give another output folder.")
    root = Path(os.path.abspath(image_root if image_root is not None else files[0].parent))
    report = CleanReport(Path(source), output, root, settings or CleanSettings())
    log = FactsLog(output_dir, root)
    unlisted = UnlistedImages.of(source, image_column, image_root)
    cleaner = _Cleaner(files, columns, root, report.settings, decode, workers, log, encoding, unlisted)
    with ExitStack() as stack:
        stack.enter_context(_locked(output_dir, log))
        unfinished = stack.enter_context(atomic_files(output_dir, last=REPORT_NAME))
        writer = stack.enter_context(open_pair_writer(unfinished / output.name, schema))
        for row in cleaner.clean(report):
            report.rows_out += 1
            report.captions_out += len(row.captions)
            writer.write(row.to_fields())
        report.not_looked_at = unlisted.count()
        if not report.rows_out:
            raise ValueError(f"No pair is left, so nothing was written.\n{report}")
        write_json(unfinished / REPORT_NAME, report.to_dict())
    return report


@contextmanager
def _locked(folder: Path, log: FactsLog) -> Iterator[None]:
    """Hold the output folder; only a run that is stopped leaves a log."""
    with output_lock(folder):
        try:
            yield
        except ValueError:
            log.remove()
            raise
        log.remove()


@dataclass
class _Cleaner:
    files: list[Path]
    columns: tuple[str, str]
    root: Path
    settings: CleanSettings
    decode: Callable[[bytes], Image.Image]
    workers: int
    log: FactsLog
    encoding: str | None
    unlisted: UnlistedImages

    def __post_init__(self) -> None:
        self.steps: list[Callable[[str], str]] = [decode_text] if self.settings.applies("decode_text") else []
        self.steps += [traditional_to_simplified()] if self.settings.simplified else []
        self.num_good_texts: int | None = None
        self.words = WordList(self.settings.drop_words)
        self.image_of_bytes: dict[int, int] = {}  # fingerprint of the bytes -> key of the first image with them
        self.look_alikes = NearDuplicateIndex()

    def clean(self, report: CleanReport) -> Iterator[CrawlRow]:
        """Yield the rows that pass every rule, each with the captions that do."""
        for row, image in self._with_images(self._rows_of_good_pairs(report)):
            if isinstance(image, BadRowError):
                if self.settings.applies("image_readable"):
                    row.drop("image_readable", image.found, report, cause=image.cause)
                    continue
            elif image is not None and (fault := self._image_fault(image, row.key)):
                row.drop(*fault, report)
                continue
            yield row

    def _rows_of_good_texts(self, report: CleanReport) -> Iterator[CrawlRow]:
        rules = self._active(
            han_length=self._han_length_fault, han_fraction=self._han_fraction_fault, drop_words=self._unwanted_word
        )
        rows = read_files(self.files, self.columns, self.root, encoding=self.encoding)
        for place, fields in self.unlisted.watch(rows):
            report.rows_in += 1
            try:
                if isinstance(fields, BadRowError):
                    raise fields
                row = CrawlRow.parse(place, fields, self.columns, self.root)
            except BadRowError as error:
                report.drop("readable_row", place, error.found, rows=1, captions=0, cause=error.cause)
                continue
            report.captions_in += len(row.captions)
            if row.rewrite(self.steps, report) and all(row.keep(*rule, report) for rule in rules):
                yield row

    def _rows_of_good_pairs(self, report: CleanReport) -> Iterator[CrawlRow]:
        rules: list[tuple[str, CaptionRule]] = []
        if any(map(self.settings.applies, PAIR_RULES)):
            pairs = self._count_pairs()
            rules = self._active(
                cooccurring_text=pairs.text_fault, cooccurring_image=pairs.image_fault, equal_pairs=pairs.repetition
            )
        rows = self._rows_of_good_texts(report)
        for row in tqdm(rows, desc="clean", unit=" rows", total=self.num_good_texts, disable=None):
            if all(row.keep(*rule, report) for rule in rules):
                yield row

    def _count_pairs(self) -> PairRules:
        counter, settings = PairCounter(), self.settings
        scratch = CleanReport(self.root, self.root, self.root, settings)
        for row in tqdm(self._rows_of_good_texts(scratch), desc="count", unit=" rows", disable=None):
            for caption in row.captions:
                counter.add(fingerprint(caption.encode()), row.key)
        self.num_good_texts = scratch.rows_in - sum(count.rows for count in scratch.dropped.values())
        return counter.rules(
            max_images=settings.max_images_per_text,
            kept_images=settings.kept_images_per_text,
            max_texts=settings.max_texts_per_image,
            kept_texts=settings.kept_texts_per_image,
        )

    def _with_images(self, rows: Iterator[CrawlRow]) -> Iterator[tuple[CrawlRow, ImageFacts | BadRowError | None]]:
        if not any(map(self.settings.applies, IMAGE_RULES)):
            yield from ((row, None) for row in rows)
            return
        known = self.log.read()
        next(known)
        for row in rows:
            found = known.send(row.image)
            if found is None:
                rows = chain([row], rows)
                break
            yield row, found
        with ThreadPoolExecutor(self.workers) as pool:  # Pillow decodes without the interpreter's lock
            while batch := list(islice(rows, 8 * self.workers)):
                facts = list(pool.map(self._examine, batch))
                self.log.write((row.image for row in batch), facts)
                yield from zip(batch, facts, strict=True)

    def _examine(self, row: CrawlRow) -> ImageFacts | BadRowError:
        return examine_image(row.image, self.root, self.decode)

    def _active(self, **rules: CaptionRule) -> list[tuple[str, CaptionRule]]:
        return [(name, rule) for name, rule in rules.items() if self.settings.applies(name)]

    def _han_length_fault(self, caption: str, key: int) -> str | None:
        count = count_han(caption)
        good = self.settings.min_han <= count <= self.settings.max_han
        return None if good else f"{count} Han characters in {caption[:40]!r}"

    def _han_fraction_fault(self, caption: str, key: int) -> str | None:
        fraction = han_fraction(caption)
        good = fraction >= self.settings.min_han_fraction
        return None if good else f"{fraction:.0%} Han characters in {caption[:40]!r}"

    def _unwanted_word(self, caption: str, key: int) -> str | None:
        word = self.words.find(caption)
        return None if word is None else f"{word!r} in {caption[:40]!r}"

    def _image_fault(self, image: ImageFacts, key: int) -> tuple[str, str] | None:
        """Return the first rule that an image breaks, and how; a good one is remembered for the rows that follow."""
        settings, short, long = self.settings, *sorted((image.width, image.height))
        size = f"{image.width} x {image.height} pixels"
        faults = (
            ("image_side", short < settings.min_side, size),
            ("image_aspect", long > settings.max_aspect * short, size),
            ("image_bytes", image.num_bytes <= settings.min_bytes, f"{image.num_bytes} bytes"),
            ("image_colour", image.one_colour, f"{size} of one colour"),
        )
        for rule, is_broken, found in faults:
            if is_broken and settings.applies(rule):
                return rule, found
        if settings.applies("exact_duplicates") and self.image_of_bytes.setdefault(image.fingerprint, key) != key:
            return "exact_duplicates", "the same bytes as an earlier image"
        if settings.applies("near_duplicates"):
            alike = self.look_alikes.find(image.difference_hash)
            if alike and key not in alike:
                return "near_duplicates", "looks like an earlier image"
            if not alike:
                self.look_alikes.add(image.difference_hash, key)
        return None


__all__ = ["IMAGE_RULES", "REPORT_NAME", "clean_pairs"]
