"""What BriVL is pre-trained on: emoji7, or pairs of the user's own."""

from dataclasses import dataclass, field
from functools import partial

from ..data import TrainingPairs, draw_text, load_emoji7, read_pairs, training_texts
from ..processing import decode_image


@dataclass
class DataArguments:
    """What it is trained on."""

    data: str = field(default="emoji7", metadata={"help": '"emoji7", or a file or folder as `read_pairs` reads it'})
    language: str = field(default="zh", metadata={"help": "of emoji7's texts"})
    image_root: str | None = field(default=None, metadata={"help": "folder of the pictures, if not beside the file"})
    image_column: str = field(default="image")
    text_column: str = field(default="text")
    max_bad_fraction: float = field(default=0.1, metadata={"help": "stop if a greater share of the rows is bad"})
    augmentation: dict = field(default_factory=dict, metadata={"help": "fields of wenlan.processing.Augmentation"})
    cached_views: int = field(
        default=0, metadata={"help": "0: augment anew each epoch; n: a frozen backbone sees n views of a picture once"}
    )


def load_pairs(args: DataArguments, seed: int) -> tuple[TrainingPairs, list[str]]:
    """Returns the pairs to train on and the texts to build a vocabulary from."""
    if args.data == "emoji7":
        draw = partial(draw_text, language=args.language)
        pairs = TrainingPairs(load_emoji7()["train"], draw_text=draw, group_column="concept_id", seed=seed)
        return pairs, training_texts(args.language)
    dataset, report = read_pairs(
        args.data,
        image_root=args.image_root,
        image_column=args.image_column,
        text_column=args.text_column,
        max_bad_fraction=args.max_bad_fraction,
        check_image=decode_image,
    )
    print(report)
    texts = [text for row in dataset["text"] for text in ([row] if isinstance(row, str) else row)]
    return TrainingPairs(dataset, seed=seed), texts


__all__ = ["DataArguments", "load_pairs"]
