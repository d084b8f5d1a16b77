"""The data of MLMM's pre-training: shards of regions, joined with caption files in up to seven languages.

*strongly correlated* captions describe their images and serve all four tasks; *weakly correlated* ones, such as texts
around images on the web, serve image-text matching alone (WuDao-WenLan, section 2).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...data.captions.text_corpus import HARD_NEGATIVES, CaptionSource
from ...data.mlmm.corpus import STRONG_TASKS, WEAK_TASKS, MLMMCorpus
from ...data.regions.load import read_region_info, read_regions
from ...data.regions.lookup import RegionFinder
from ...data.regions.schema import RegionInfo
from ...data.rows.report import BadRowError, BadRowReport
from ...data.rows.text_files import open_text
from ...data.rows.vocabulary import check_vocabulary
from ..recipe_options import option

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASKS_OF = {"strong": STRONG_TASKS, "weak": WEAK_TASKS}
CORPUS_KEYS = ("name", "regions", "captions", "tasks")
CAPTION_FILE = "captions_*.jsonl"
PIECE = 1000  # rows of a caption file at a time


@dataclass
class CorpusArguments:
    """The corpora to train and evaluate on."""

    regions: str | None = option(None, "folder that wenlan extract-regions wrote")
    captions: str | None = option(None, "folder with captions_LANGUAGE.jsonl: describe the images of `regions`")
    tasks: dict = option({}, "task -> integer weight there; itm, mlm, mrfr, mrc")
    corpora: list[dict] = option(
        [],
        "further corpora: mappings with regions (folder or list of them), captions (folder, or language -> "
        'file), and perhaps name and tasks ("strong", "weak" or weights)',
    )
    test_regions: str | None = option(None, "regions of unseen images, evaluated at the end")
    test_captions: str | None = option(None, "their captions, as captions")
    test_objects: str | None = option(None, "emoji_scenes: hide its names of things in the test captions")
    test_examples: int = option(700, "captions of each test", low=1)
    on_bad_shard: Literal["raise", "skip"] = option("raise", "a damaged shard of regions")
    max_bad_fraction: float = option(
        0.1, "stop if a greater fraction of a file's rows is bad or has no regions", low=0, high=1
    )
    shuffle_pairs: bool = option(False, "a control: captions of other images")

    def listed(self) -> list[dict[str, Any]]:
        """Return all corpora to train on as mappings.

        Raises:
            ValueError: there is none, or one has a wrong key or lacks one; all faults are named.
        """
        first = {"regions": self.regions, "captions": self.captions, "tasks": self.tasks or "strong"}
        corpora = ([first] if self.regions or self.captions else []) + list(self.corpora)
        problems = [] if corpora else ["no corpus: give regions and captions, or a list of corpora"]
        for number, corpus in enumerate(corpora):
            if not isinstance(corpus, Mapping):
                problems.append(f"corpus {number} is {corpus!r}, no mapping")
                continue
            problems += [f"corpus {number} lacks {key}" for key in ("regions", "captions") if not corpus.get(key)]
            problems += [
                f"corpus {number} has an unknown key {key!r} (known: {', '.join(CORPUS_KEYS)})"
                for key in corpus
                if key not in CORPUS_KEYS
            ]
            tasks = corpus.get("tasks", "strong")
            if not isinstance(tasks, Mapping) and tasks not in TASKS_OF:
                problems.append(f"corpus {number} has tasks {tasks!r}; give strong, weak, or weights by task")
        if problems:
            raise ValueError(f"The corpora cannot be used: {'; '.join(problems)}.")
        return [dict(corpus) for corpus in corpora]

    def test(self) -> dict[str, Any] | None:
        """Return the corpus that is evaluated on as a mapping, None without one.

        Raises:
            ValueError: half of it is missing.
        """
        if bool(self.test_regions) != bool(self.test_captions):
            raise ValueError("Give test_regions and test_captions, or neither.")
        if not self.test_regions:
            return None
        return {"name": "test", "regions": self.test_regions, "captions": self.test_captions, "tasks": "strong"}


@dataclass
class CorpusReport:
    """The contents of a corpus, and what was left out of it."""

    name: str
    tasks: dict[str, int]
    images: int
    regions: float
    captions: dict[str, int]
    dropped: BadRowReport
    files: list[BadRowReport]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        files = [
            {
                "file": str(file.source),
                "rows": file.rows_kept,
                "left_out": dict(file.counts),
                "repairs": dict(file.repairs),
            }
            for file in self.files
        ]
        return {**vars(self), "dropped": dict(self.dropped.counts), "files": files}

    def __str__(self) -> str:
        tasks = ", ".join(f"{task} {weight}" for task, weight in self.tasks.items())
        captions = ", ".join(f"{language} {count}" for language, count in self.captions.items())
        lines = [f"{self.name}: {self.images} images of {self.regions:.1f} regions; captions: {captions}; {tasks}"]
        lines += [f"  left out {count} x {reason}" for reason, count in self.dropped.counts.items()]
        return "\n".join([*lines, *(f"  {file}" for file in self.files if file.counts or file.repairs)])


def read_info(corpora: Sequence[Mapping[str, Any]]) -> RegionInfo:
    """Return what the regions of all corpora have in common.

    Raises:
        ValueError: they are of different detectors, whose features do not mean the same.
        FileNotFoundError, RegionShardError: as `read_regions`.
    """
    infos = {str(path): read_region_info(path) for corpus in corpora for path in region_folders(corpus)}
    first, *others = infos
    for path in others:
        for name in ("feature_dim", "model_hash", "num_classes", "background_index"):
            ours, other = getattr(infos[first], name), getattr(infos[path], name)
            if ours != other:
                raise ValueError(
                    f"{name} is {ours!r} in {first} and {other!r} in {path}: extract both with the same detector."
                )
    return infos[first]


def load_corpus(
    corpus: Mapping[str, Any], args: CorpusArguments, tokenizer: "PreTrainedTokenizerBase", *, max_text_length: int = 60
) -> tuple[MLMMCorpus, CorpusReport]:
    """Return a corpus from one of `CorpusArguments.listed`, and what was left out of it.

    Raises:
        FileNotFoundError: a folder or file does not exist.
        RegionShardError: a shard is damaged and `on_bad_shard` is "raise".
        TooManyBadRowsError: more of a caption file than allowed is bad, or has no regions.
        ValueError: an unknown language, two images that fit the same regions, hard negatives of images with captions in
            several folders, and whatever `MLMMCorpus` refuses.
    """
    regions = read_regions(region_folders(corpus), on_bad_shard=args.on_bad_shard)
    places = {name: place for place, name in enumerate(regions.with_format(None)["image_id"])}
    captions, hard_negatives, reports = _read_captions(corpus["captions"], places, tokenizer, args.max_bad_fraction)
    if args.shuffle_pairs:
        captions = {language: (_shift(images), texts) for language, (images, texts) in captions.items()}
    tasks = corpus.get("tasks", "strong")
    name = corpus.get("name") or str(corpus["captions"])
    loaded = MLMMCorpus(
        regions,
        captions,
        tokenizer,
        name=name,
        tasks=TASKS_OF[tasks] if isinstance(tasks, str) else tasks,
        max_text_length=max_text_length,
        hard_negatives=hard_negatives,
    )
    loaded.bad_rows.raise_above(args.max_bad_fraction)
    counts = {language: len(table) for language, table in loaded.captions.items()}
    mean = float(loaded.region_counts[loaded.images].mean())
    return loaded, CorpusReport(name, loaded.tasks, len(loaded.images), mean, counts, loaded.bad_rows, reports)


def _read_captions(
    given: str | Mapping[str, str] | list[str],
    places: Mapping[str, int],
    tokenizer: "PreTrainedTokenizerBase",
    max_bad_fraction: float,
) -> tuple[dict[str, tuple[list[int], list[str]]], dict[int, list[int]], list[BadRowReport]]:
    """Return the captions by language as `MLMMCorpus` takes them, its hard negatives, and a report of each file."""
    captions: dict[str, tuple[list[int], list[str]]] = {}
    hard_negatives: dict[int, list[int]] = {}
    reports = []
    for folder in given if isinstance(given, list) else [given]:
        earlier = {image for images, _ in captions.values() for image in images}
        hard = _read_hard_negatives(folder, places)
        for language, file in caption_files(folder).items():
            source = CaptionSource(file, language, PIECE, max_bad_fraction=max_bad_fraction)
            (images, texts), report = _join(source, places, max_bad_fraction)
            reports.append(report)
            check_vocabulary(tokenizer, texts, what=f"captions in {language}")
            if hard_negatives.keys() & set(images) or hard.keys() & earlier:
                raise ValueError(
                    f"{file}: images with {HARD_NEGATIVES} have captions in another folder too, which may be true of "
                    "both; take other images there."
                )
            all_images, all_texts = captions.setdefault(language, ([], []))
            all_images += images
            all_texts += texts
        hard_negatives |= hard
    return captions, hard_negatives, reports


def _join(
    source: CaptionSource, places: Mapping[str, int], max_bad_fraction: float
) -> tuple[tuple[list[int], list[str]], BadRowReport]:
    """Return the captions with the rows of their images' regions."""
    images: list[int] = []
    texts: list[str] = []
    finder = RegionFinder(places, source.source)
    report = source.report
    for piece in source:
        for row in piece:
            place = finder.find(row.image)
            if place < 0:
                report.keep_rows(-1)
                report.add_bad_row(BadRowError("no regions", f"none are of {row.image}"), row.image)
                continue
            images += [place] * len(row.captions)
            texts += row.captions
    report.raise_above(max_bad_fraction)
    return (images, texts), report


def region_folders(corpus: Mapping[str, Any]) -> list[str]:
    """Return the folders of regions of one of `CorpusArguments.listed`."""
    regions = corpus["regions"]
    return [regions] if isinstance(regions, str) else list(regions)


def caption_files(captions: str | Mapping[str, str]) -> dict[str, Path]:
    """Return language -> file, of a folder with captions_LANGUAGE.jsonl or as they were given.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    if isinstance(captions, Mapping):
        return {language: Path(file) for language, file in captions.items()}
    files = {file.stem.removeprefix("captions_"): file for file in sorted(Path(captions).glob(CAPTION_FILE))}
    if not files:
        raise FileNotFoundError(
            f"{captions} holds no {CAPTION_FILE}; give a folder of wenlan data scenes or wenlan translate-captions, or "
            "language -> file."
        )
    return files


def _read_hard_negatives(captions: str | Mapping[str, str], places: Mapping[str, int]) -> dict[int, list[int]]:
    """Return row of the regions -> rows of its hard negatives, of a folder that has such a file.

    Raises:
        ValueError: a line is not as `HARD_NEGATIVES` says.
    """
    if isinstance(captions, Mapping) or not (file := Path(captions) / HARD_NEGATIVES).is_file():
        return {}
    finder, found = RegionFinder(places, file), {}
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                names = [row["image"], *row["hard_negatives"]]
            except (ValueError, KeyError, TypeError):
                names = []
            if len(names) < 2 or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f'{file}, line {number}: {line[:80]!r} is not {{"image": name, "hard_negatives": [name, ...]}}.'
                )
            image, *others = map(finder.find, names)
            found[image] = [other for other in others if other >= 0]
    found.pop(-1, None)
    return found


def _shift(images: list[int]) -> list[int]:
    """Give each caption the image of one far away in the file."""
    half = len(images) // 2
    return images[half:] + images[:half]


__all__ = ["CorpusArguments", "CorpusReport", "caption_files", "load_corpus", "read_info", "region_folders"]
