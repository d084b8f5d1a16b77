"""The data of BriVL's pre-training: emoji7, or pairs of the user's own, read whole or as a stream; a report on it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ...data.emoji7.dataset import draw_text, load_emoji7, training_texts
from ...data.emoji7.texts import ConceptTexts
from ...data.imagenet.class_names import NAMED_IN, read_class_names
from ...data.pairs.dataset import TrainingPairs
from ...data.pairs.load import read_pairs
from ...data.pairs.report import PairReport
from ...data.pairs.report_pairs import report_pairs
from ...data.pairs.splits import hold_out
from ...data.pairs.streaming import StreamedPairs
from ...data.rows.languages import ALL, languages_of
from ...data.rows.types import DrawnText
from ...processing.augmentation.image import Augmentation
from ...processing.image_decoding import decode_image
from ..content_digest import DigestedImages, digest_rows, digest_shards
from ..option_conflicts import Overrules
from ..recipe_options import option

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY_SAMPLE = 100_000  # captions of a stream that a vocabulary is built from
NAMED = (*NAMED_IN, ALL)  # values of `language` with names of image classes
REPORT_SAMPLE = 5_000  # pairs of a stream that are reported on


@dataclass
class DataArguments:
    """The data to train on."""

    data: str = option(
        "emoji7", '"emoji7", a file or folder as `read_pairs` reads it, or shards as `StreamedPairs` reads them'
    )
    language: str = option("zh", "of emoji7's texts, all: its seven; what the data report expects of others")
    texts_per_image: int = option(1, "of emoji7, in a step: of different languages as far as there are", low=1)
    streaming: bool = option(False, "read .tar or .parquet shards as a stream; needs max_steps, keeps no copy")
    shuffle_buffer: int = option(1000, "pairs that a reader of a stream shuffles at a time", low=1)
    image_root: str | None = option(None, "folder of the images, if not beside the file")
    image_column: str = "image"
    text_column: str = option("text", "column with the caption or the captions; such as text_zh")
    encoding: str | None = option(None, "of a text file, such as gb18030 or big5; by default UTF-8 or UTF-16")
    split: str = option("train", "of a file with a column `split`; all: every row")
    max_bad_fraction: float = option(0.1, "stop if a greater fraction of the rows is bad", low=0, high=1)
    duplicate_captions: Literal["ignore", "mask", "positive"] = option(
        "ignore",
        "pairs with the same caption are each other's negatives (ignore), neither negatives nor positives "
        "(mask), or positives (positive: also sets group_positives of the model's configuration); pairs of emoji7 "
        "are grouped by their concept, so that ignore and mask are the same there",
    )
    augmentation: Annotated[dict, Augmentation] = option({}, "fields of wenlan.processing.Augmentation")
    fit_to_data: bool = option(
        False,
        "batch, steps, queue and cached_views follow the number of pairs where neither recipe nor command line gives "
        "them; a split, or images that are held out, are evaluated on before and after",
    )
    token_dropout: float = option(
        0.0, "fraction of a text's tokens that a step hides from the text tower", low=0, high=1
    )
    cached_views: int = option(
        0, "0: augment anew each epoch; n: a frozen backbone sees n views of an image once", low=0
    )
    cached_texts: int = option(
        0,
        "0: texts are read anew each time; n: the frozen layers of the text encoder see n texts of each concept and "
        "language of emoji7, or each caption of other data, once",
        low=0,
    )
    image_class_names: bool = option(
        False,
        "in each epoch of emoji7 also a pair for each class of ImageNet: what the classifier of the image weights "
        "looks for, and the class's name in Chinese or English; needs cached_views",
    )

    OVERRULES: ClassVar = (
        Overrules("streaming", ("shuffle_buffer",), lambda streams: not streams, "--streaming true"),
        Overrules(
            *("data", ("image_root", "image_column", "text_column")), lambda data: data == "emoji7", "your own --data"
        ),
        Overrules("data", ("texts_per_image", "image_class_names"), lambda data: data != "emoji7", "--data emoji7"),
        Overrules("language", ("image_class_names",), lambda language: language not in NAMED, "--language all"),
    )

    def __post_init__(self) -> None:
        if self.duplicate_captions not in ("ignore", "mask", "positive"):
            raise ValueError(f"duplicate_captions is {self.duplicate_captions!r}; give ignore, mask or positive.")
        if self.streaming and self.data == "emoji7":
            raise ValueError("emoji7 is no stream; give shards of your own as data, or streaming false.")
        if self.fit_to_data and (self.streaming or self.data == "emoji7"):
            raise ValueError("fit_to_data is for pairs of your own whose number is known: give data, not streaming.")
        if self.has_class_names and not self.cached_views:
            raise ValueError("image_class_names needs cached feature maps: set cached_views, or leave it out.")
        for name in ("cached_views", "cached_texts"):
            if self.streaming and getattr(self, name):
                raise ValueError(f"A stream is never seen as a whole, so that nothing can be cached; set {name} to 0.")

    @property
    def has_class_names(self) -> bool:
        """True if the texts include the names of image classes: those of emoji7 may, in a language that has them."""
        return self.image_class_names and self.data == "emoji7" and self.language in NAMED

    @property
    def wanted_split(self) -> str | None:
        """The split to read; None: every row."""
        return None if self.split == "all" else self.split


def load_pairs(
    args: DataArguments,
    seed: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    check_image: Callable[[str | bytes], object] = decode_image,
) -> tuple[TrainingPairs | StreamedPairs, list[str]]:
    """Return the pairs to train on and their texts, to build a vocabulary from or to cache, the same on every rank.

    `check_image` is called with each image of a file of pairs, as `read_pairs` calls it.
    Only a stream is shared out by rank here; the Trainer does it with other pairs.
    """
    if args.data == "emoji7":
        draw, texts = _emoji7_texts(args, seed)
        return TrainingPairs(load_emoji7()["train"], draw_text=draw, group_column="concept_id", seed=seed), texts
    if args.streaming:
        stream = _open_stream(args, seed, rank=rank, world_size=world_size, endless=True)
        return stream, stream.sample_texts(VOCABULARY_SAMPLE)
    dataset, bad_rows = read_pairs(
        args.data,
        image_root=args.image_root,
        image_column=args.image_column,
        text_column=args.text_column,
        encoding=args.encoding,
        split=args.wanted_split,
        max_bad_fraction=args.max_bad_fraction,
        check_image=check_image,
        log=False,  # `report_data` tells it
    )
    held_out = None
    if args.fit_to_data and not bad_rows.has_splits:
        dataset, held_out = hold_out(dataset)
    texts = [text for row in dataset["text"] for text in ([row] if isinstance(row, str) else row)]
    by_caption = args.duplicate_captions != "ignore"
    pairs = TrainingPairs(dataset, group_by_caption=by_caption, seed=seed, bad_rows=bad_rows, held_out=held_out)
    return pairs, texts


def _emoji7_texts(
    args: DataArguments, seed: int
) -> tuple[Callable[[dict, random.Random], str | list[DrawnText]], list[str]]:
    """Return what draws the texts of a row of emoji7, and all of them, or what they are made of."""
    languages = languages_of(args.language)
    if args.cached_texts or args.texts_per_image > 1 or len(languages) > 1 or args.has_class_names:
        further = read_class_names() if args.has_class_names else {}
        draw = ConceptTexts(languages, number=args.texts_per_image, fixed=args.cached_texts, seed=seed, further=further)
        texts = draw.texts or [text for language in languages for text in training_texts(language)]
        return draw, texts + draw.further_texts
    return partial(draw_text, language=args.language), training_texts(args.language)


def describe_pairs(pairs: TrainingPairs | StreamedPairs, images: DigestedImages, workers: int) -> dict[str, object]:
    """Return what identifies the pairs of a run; the order of a stream depends on the number of workers, too."""
    if isinstance(pairs, StreamedPairs):
        return {"shards": len(pairs.shards), "digest": digest_shards(pairs.shards), "readers": max(1, workers)}
    rows = {"rows": len(pairs), "digest": digest_rows(pairs.dataset)}
    return rows | {"images": {"digest": images.digest}}


def report_data(
    pairs: TrainingPairs | StreamedPairs,
    args: DataArguments,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    max_tokens: int | None = None,
    batch_size: int | None = None,
    queue_size: int | None = None,
) -> PairReport:
    """Return the report on pairs from `load_pairs`; of a stream, on the first `REPORT_SAMPLE` pairs of all ranks.

    The other arguments are those of `report_pairs`.
    """
    report = partial(
        report_pairs,
        source=args.data,
        language=args.language,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        batch_size=batch_size,
        queue_size=queue_size,
    )
    if isinstance(pairs, StreamedPairs):
        return report(_open_stream(args, pairs.seed), max_pairs=REPORT_SAMPLE)
    return report((pairs[index] for index in range(len(pairs))), bad_rows=pairs.bad_rows)


def _open_stream(
    args: DataArguments, seed: int, *, rank: int = 0, world_size: int = 1, endless: bool = False
) -> StreamedPairs:
    return StreamedPairs(
        args.data,
        image_root=args.image_root,
        image_column=args.image_column,
        text_column=args.text_column,
        split=args.wanted_split,
        check_image=decode_image,
        max_bad_fraction=args.max_bad_fraction,
        group_by_caption=args.duplicate_captions != "ignore",
        seed=seed,
        shuffle_buffer=args.shuffle_buffer,
        rank=rank,
        world_size=world_size,
        endless=endless,
    )


__all__ = ["NAMED", "DataArguments", "describe_pairs", "load_pairs", "report_data"]
