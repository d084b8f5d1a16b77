"""Translate the captions of a corpus into other languages with a model of your choice: one file of pairs a language.

    wenlan translate-captions cc3m/metadata.jsonl --output cc3m-7 --model facebook/m2m100_418M
    wenlan translate-captions cc3m/metadata.jsonl --output cc3m-7 --languages de,fr \
        --model "Helsinki-NLP/opus-mt-{source}-{target}"

Killed at any moment and started again, it resumes with the first shard that is not complete, and the files have the
same bits as those of an unbroken run on the same machine. Filters read the finished shards: other filters, or one more
language, translate nothing anew.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..captions.text_corpus import CaptionedImage, CaptionSource
from ..files.atomic import remove_unfinished
from ..files.json_files import write_json
from ..files.lock import output_lock
from ..files.manifest import agree_with_manifest
from ..rows.report import BadRowReport, TooManyBadRowsError
from ..rows.scripts import check_language
from .filters import TranslationFilter, check_filters
from .language_codes import Direction, fill_template, find_direction
from .model import DecodingSettings, TranslationModel
from .output import FilterReport, write_translated_captions
from .shards import Translation, TranslationShards

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
REPORT = "report.json"
MAX_FAILURES = 8  # of a shard without any success: then it is not the captions


@dataclass(frozen=True)
class ModelChoice:
    """Choice of a translation model.

    Attributes:
        name: folder or hub id; {source} and {target} in it stand for the languages, where each pair has its own model.
        codes: what the model calls a language, where that is not among `CODES`; or its name, where that has {target}.
        prefix: before every caption, with {source} and {target}, for models such as T5.
        dtype: "float32", "bfloat16" or "float16".
        device: by default a GPU if there is one.
    """

    name: str
    codes: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    dtype: str = "float32"
    device: str | None = None


@dataclass
class TranslationReport:
    """Counts of a run: `source` of the rows that were read, `languages` of the captions that were kept in each."""

    source: BadRowReport
    languages: dict[str, FilterReport]

    def __str__(self) -> str:
        lines = [str(self.source), f"{'language':<9}{'rows':>9}{'captions':>10}{'left out':>10}  by filter"]
        for language, found in self.languages.items():
            counts = ", ".join(f"{name} {count}" for name, count in found.counts.most_common())
            numbers = f"{found.rows_out:>9}{found.captions_out:>10}{found.counts.total():>10}"
            lines.append(f"{language:<9}{numbers}  {counts}".rstrip())
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON has it, without times, so that two equal runs write equal files."""
        languages = {name: vars(found) for name, found in self.languages.items()}
        return {"source": self.source.to_dict(), "languages": languages}


def translate_captions(
    source: str | Path,
    output: str | Path,
    *,
    model: ModelChoice | str,
    source_language: str = "en",
    languages: Sequence[str] = ("zh", "de", "fr", "cs", "ja", "ko"),
    columns: tuple[str, str] = ("image", "text"),
    image_root: str | Path | None = None,
    num_beams: int | None = None,
    batch_tokens: int = 2048,
    max_source_tokens: int = 128,
    shard_size: int = 1000,
    skip_filters: Collection[str] = (),
    max_bad_fraction: float = 0.1,
    max_filtered_fraction: float = 0.5,
    encoding: str | None = None,
) -> TranslationReport:
    """Write `captions_XX.jsonl` for the source language and each other one, and `report.json`, into `output`.

    Args:
        source: pairs as `read_pairs` takes them; the images are not opened and need not exist. Their paths are
            written as they are.
        output: a run that was stopped there resumes; `shards/XX` holds the raw translations.
        model: which one, or its name.
        columns: of image and text in the source.
        image_root: where a list without names, as CC3M's, finds its images.
        num_beams: by default 4 on a GPU and 1 on a CPU.
        batch_tokens, max_source_tokens: as for `DecodingSettings`.
        shard_size: rows a shard, which is also what a kill can cost.
        skip_filters: of `filters.SWITCHES`.
        max_bad_fraction: a greater fraction of bad rows is an error before the first translation.
        max_filtered_fraction: a greater fraction of a language's captions left out is an error, after the files of the
            other languages and the report were written.
        encoding: of the source, as for `read_pairs`.

    Raises:
        FileNotFoundError: no such source.
        ValueError: an argument is wrong, `output` was begun with other captions or settings or is no output of this
            command, or the model does not know a language.
        TooManyBadRowsError: too many rows are bad or captions left out, or the model fails on all of a shard.
    """
    choice = ModelChoice(model) if isinstance(model, str) else model
    device = choice.device or ("cuda" if torch.cuda.is_available() else "cpu")
    beams = num_beams or (1 if torch.device(device).type == "cpu" else 4)
    settings = DecodingSettings(beams, batch_tokens, max_source_tokens)
    output = Path(output)
    _check(choice, source_language, languages, skip_filters)
    root = None if image_root is None else Path(image_root)
    captions = CaptionSource(Path(source), source_language, shard_size, columns, root, max_bad_fraction, encoding)
    captions.report.log()
    manifest = {"source_language": source_language, "shard_size": shard_size, "sha256": captions.sha256}
    with output_lock(output):
        agree_with_manifest(output, manifest, shards="captions_*.jsonl")
        shards: dict[str, TranslationShards] = {}
        for name, group in groupby(
            languages, lambda one: fill_template(choice.name, source_language, one, choice.codes)
        ):
            shards |= _translate_with(name, list(group), captions, output, choice, settings, device)
        report, failed = _write(output, captions, shards, skip_filters, max_filtered_fraction)
    if failed:
        raise TooManyBadRowsError(
            f"More than {max_filtered_fraction:.0%} of the captions in {', '.join(failed)} (or all) were left out: they"
            f" have no file. Does the model fit? {output / REPORT} has examples.\n{report}"
        )
    return report


def _check(choice: ModelChoice, source_language: str, languages: Sequence[str], skip_filters: Collection[str]) -> None:
    for language in (source_language, *languages, *choice.codes):
        check_language(language)
    if not languages or source_language in languages or len(set(languages)) != len(languages):
        raise ValueError(
            f"The languages are {', '.join(languages) or 'none'}; give each one once, and not {source_language!r}: its "
            "captions are written anyway."
        )
    if choice.dtype not in DTYPES:
        raise ValueError(f"dtype is {choice.dtype!r}; it must be one of {', '.join(DTYPES)}.")
    check_filters(skip_filters)


def _translate_with(
    name: str,
    languages: list[str],
    captions: CaptionSource,
    output: Path,
    choice: ModelChoice,
    settings: DecodingSettings,
    device: str,
) -> dict[str, TranslationShards]:
    """Write the shards that are not there yet of all languages of one model, which is in memory for no longer."""
    model = TranslationModel(name, dtype=DTYPES[choice.dtype], device=device)
    codes = {} if "{target}" in choice.name else choice.codes  # there they complete the name
    shards = {}
    for language in languages:
        direction = find_direction(model.tokenizer, captions.language, language, codes=codes, prefix=choice.prefix)
        if not direction.is_named and len(languages) > 1:
            raise ValueError(
                f"{name} has one target language and cannot translate into {', '.join(languages)}; give one language, "
                "or a name with {source} and {target}, or --prefix."
            )
        decoding = asdict(settings) | {"dtype": choice.dtype}
        wanted = {"model": model.identity, "direction": asdict(direction), "decoding": decoding}
        raw = shards[language] = TranslationShards(output / "shards" / language, captions.digests, wanted)
        pending, title = set(raw.pending()), f"{captions.language}-{language}"
        with tqdm(total=captions.num_captions, desc=title, unit=" captions", disable=None) as bar:
            for shard, piece in enumerate(captions if pending else ()):
                if shard in pending:
                    raw.write(shard, piece, _translate_piece(piece, model, direction, settings, bar))
                else:
                    bar.update(sum(len(row.captions) for row in piece))
    return shards


def _translate_piece(
    piece: list[CaptionedImage], model: TranslationModel, direction: Direction, settings: DecodingSettings, bar: tqdm
) -> list[list[Translation]]:
    """Return the translations of each row's captions; equal captions of a piece are translated once."""
    counts = Counter(caption for row in piece for caption in row.captions)
    texts = list(counts)
    found = model.translate(
        texts,
        direction,
        settings,
        advance=lambda positions: bar.update(sum(counts[texts[position]] for position in positions)),
    )
    failed = [one.fault for one in found if one.text is None and (one.fault or "").startswith("model failed")]
    if len(failed) > MAX_FAILURES and len(failed) == len(found):
        raise TooManyBadRowsError(f"The model failed on all {len(failed)} captions.\n{failed[0]}")
    by_text = dict(zip(texts, found, strict=True))
    return [[by_text[caption] for caption in row.captions] for row in piece]


def _write(
    output: Path,
    captions: CaptionSource,
    shards: Mapping[str, TranslationShards],
    skip_filters: Collection[str],
    max_filtered_fraction: float,
) -> tuple[TranslationReport, list[str]]:
    """Write the files of pairs and the report, and remove what killed runs left behind.

    Return the report and the languages of which too much, or all, was left out: they get no file.
    """

    def untranslated() -> Iterator[tuple[CaptionedImage, list[Translation]]]:
        for piece in captions:
            for row in piece:
                yield row, [Translation(caption) for caption in row.captions]

    report, failed = TranslationReport(captions.report, {}), []
    for language in (captions.language, *shards):
        file = output / f"captions_{language}.jsonl"
        if language in shards:
            good = TranslationFilter(captions.language, language, frozenset(skip_filters))
            found = write_translated_captions(file, shards[language].read, good)
            remove_unfinished(shards[language].folder)
        else:
            found = write_translated_captions(file, untranslated, None)
        report.languages[language] = found
        if not found.captions_out or found.filtered_fraction > max_filtered_fraction:
            failed.append(language)
            file.unlink()
    write_json(output / REPORT, report.to_dict())
    remove_unfinished(output)
    return report, failed


__all__ = ["ModelChoice", "TranslationReport", "translate_captions"]
