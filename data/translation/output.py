"""Raw translations to a file of pairs that `read_pairs` takes, and the account of what the filters left out."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..captions.text_corpus import CaptionedImage
from ..cleaning.cooccurrence import PairCounter
from ..files.atomic import atomic_file
from ..files.hashing import fingerprint
from .filters import TranslationFilter
from .shards import Translation

MAX_SOURCES = 50  # captions of one translation: some models that fail say the same to everything
NO_LIMIT = 2**62
_NO_WORD = re.compile(r"[\W_]+")

Fault = tuple[str, str]  # a filter, and what it found
TranslatedRows = Callable[[], Iterable[tuple[CaptionedImage, list[Translation]]]]


@dataclass
class FilterReport:
    """Counts of the captions of one language that were kept and left out.

    Attributes:
        rows_in, rows_out: images; one whose last caption was left out is gone.
        captions_in, captions_out: of them.
        counts: captions left out, by filter (`FILTERS`).
        examples: the first three of each.
    """

    rows_in: int = 0
    rows_out: int = 0
    captions_in: int = 0
    captions_out: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def filtered_fraction(self) -> float:
        """Fraction of the captions that were left out."""
        return 1 - self.captions_out / self.captions_in if self.captions_in else 0.0

    def drop(self, name: str, found: str) -> None:
        """Count one caption."""
        self.counts[name] += 1
        if len(examples := self.examples.setdefault(name, [])) < 3:
            examples.append(found)


def write_translated_captions(
    path: Path, rows: TranslatedRows, good: TranslationFilter | None, *, max_sources: int = MAX_SOURCES
) -> FilterReport:
    """Write a JSON line {"image", "text"} for every row that keeps a caption; the file appears when it is complete.

    The rows are read twice, since it has to be counted first which translations come again. That takes 32 bytes a
    caption.

    Args:
        rows: gives all rows anew at each call.
        good: None for the captions in their own language, where only repetitions are left out.
        max_sources: one translation of more different captions is left out.
    """
    repeated, crowded = _count(rows, good, max_sources)
    report = FilterReport()
    with atomic_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for row, translations in rows():
            report.rows_in += 1
            report.captions_in += len(translations)
            texts, image = [], fingerprint(row.image.encode())
            for source, translation in zip(row.captions, translations, strict=True):
                text, fault = _filter(good, source, translation)
                if fault is None and fingerprint(text.encode()) in crowded:
                    fault = "one for many", f"{source[:80]!r} -> {text[:80]!r}"
                if fault is None and repeated(text, image):
                    fault = "duplicate", f"{row.image}: {text[:80]!r}"
                if fault is None:
                    texts.append(text)
                else:
                    report.drop(*fault)
            if texts:
                report.rows_out += 1
                report.captions_out += len(texts)
                fields = {"image": row.image, "text": texts if row.has_list else texts[0]}
                file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    return report


def _filter(good: TranslationFilter | None, source: str, translation: Translation) -> tuple[str, Fault | None]:
    """Return the text of a translation, "" if there is none, and what is wrong with it."""
    fault = None if good is None else good.fault(source, translation.text, translation.fault)
    return translation.text or "", fault


def _count(
    rows: TranslatedRows, good: TranslationFilter | None, max_sources: int
) -> tuple[Callable[[str, int], str | None], frozenset[int]]:
    """Return the test for texts that an image had before, and the fingerprints of translations of too many captions."""
    images, sources = PairCounter(), PairCounter()
    for row, translations in rows():
        image = fingerprint(row.image.encode())
        for source, translation in zip(row.captions, translations, strict=True):
            text_of, fault = _filter(good, source, translation)
            if fault is None:
                text = fingerprint(text_of.encode())
                images.add(text, image)
                if good is not None and "one for many" not in good.skip:
                    sources.add(text, fingerprint(_NO_WORD.sub(" ", source.casefold()).strip().encode()))
    limits = {"max_texts": NO_LIMIT, "kept_texts": 0, "kept_images": 0}
    repeated = images.rules(max_images=NO_LIMIT, **limits).repetition
    return repeated, frozenset(sources.rules(max_images=max_sources, **limits).images_of_text)


__all__ = ["MAX_SOURCES", "FilterReport", "write_translated_captions"]
