"""Prompt tuning of a frozen text tower with text and visual prototypes.

A class has a *text prototype*, the embedding of its name among a few learned vectors, and may have a *visual
prototype*, an embedding of images. A text x with the embedding s is scored by

    (a cos(s, t_c + d_c) + b cos(s, v_c + e_c) + c cos(u, v_c)) / temperature

where t are text prototypes, v visual ones, d and e small learned vectors, a, b and c learned positive numbers, and u
is an embedding of images that belong to the text; without such images there is no third term. The paper says that both
modalities were used and not how; this is one reading of it. Shapes: c classes, m context vectors, l tokens, e width of
the encoder, d embedding size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .prompt_encoder import PromptEncoder

BEFORE, AFTER = "这是关于", "的论文"
PENALTIES = (30.0, 1.0, 10.0, 100.0, 1000.0)  # to choose among; the first is taken where nothing is chosen


@dataclass(frozen=True)
class TuningSettings:
    """Fixed for all rows of a table before any is made; there is no early stop.

    Attributes:
        context_length: learned vectors around a name; 0: names stand alone, in the sentence that the vectors start as.
        epochs: steps, as every epoch is one batch of all shots.
        learning_rate: of AdamW at the start; it follows a cosine to 0.
        weight_decay: of AdamW.
        residual_penalty: times the mean squared length of d and e; chosen among 0.1 to 1000 on shots of CSLDCP's
            training sets that were not drawn, for the encoder alone.
    """

    context_length: int = 4
    epochs: int = 50
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    residual_penalty: float = PENALTIES[0]


class Prompts(nn.Module):
    """Class names between learned vectors, half of them before and half after.

    Args:
        encoder: a frozen text tower.
        names: of the classes.
        context_length: how many vectors. They start as the tokens of 这是关于…的论文, several tokens averaged where
            there are more of them.

    Raises:
        ValueError: the tokenizer knows nothing of a name, or the prompts are too long.
    """

    base: Tensor
    mask: Tensor
    places: Tensor

    def __init__(self, encoder: PromptEncoder, names: Sequence[str], *, context_length: int) -> None:
        super().__init__()
        if unknown := [name for name, is_unknown in zip(names, encoder.only_unknown(names), strict=True) if is_unknown]:
            raise ValueError(
                f"The tokenizer knows nothing of {', '.join(unknown[:5])}: give a model of the names' language."
            )
        before, after = context_length - context_length // 2, context_length // 2
        starts = self._start(encoder, BEFORE, before) + self._start(encoder, AFTER, after)
        plain = [] if context_length else [self._ids(encoder, BEFORE), self._ids(encoder, AFTER)]
        first, last = plain or [[], []]
        rows, places = [], []
        start, end = self._special(encoder)
        for name in names:
            ids = self._ids(encoder, name)
            row = [*start, *first, *[-1] * before, *ids, *[-1] * after, *last, *end]
            rows.append(row)
            numbers = iter(range(context_length))
            places.append([next(numbers) if token == -1 else -1 for token in row])
        if (longest := max(map(len, rows))) > encoder.max_tokens:
            raise ValueError(
                f"A prompt has {longest} tokens, the tower reads {encoder.max_tokens}: fewer context vectors."
            )
        tokens, mask = encoder.pad([[max(token, 0) for token in row] for row in rows])
        padded = [[*row, *[-1] * (longest - len(row))] for row in places]
        with torch.no_grad():
            self.register_buffer("base", encoder.embed_tokens(tokens), persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("places", torch.tensor(padded, device=tokens.device), persistent=False)
        self.context = nn.Parameter(torch.stack(starts)) if starts else None

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return (c, l, e) embedded tokens and (c, l) mask, 1 = real token."""
        if self.context is None:
            return self.base, self.mask
        learned = self.context[self.places.clamp(min=0)]
        return torch.where(self.places[..., None] >= 0, learned, self.base), self.mask

    def _start(self, encoder: PromptEncoder, text: str, count: int) -> list[Tensor]:
        ids = self._ids(encoder, text)
        cuts = [(number * len(ids) // count, max((number + 1) * len(ids) // count, 1)) for number in range(count)]
        with torch.no_grad():
            vectors = encoder.embed_tokens(torch.tensor(ids, device=encoder.model.device))
            return [vectors[min(low, high - 1) : high].mean(dim=0).clone() for low, high in cuts]

    @staticmethod
    def _ids(encoder: PromptEncoder, text: str) -> list[int]:
        """Return the tokens of a text inside of a sentence, where SentencePiece puts no mark before it."""
        before, whole, alone = encoder.tokenizer(
            [BEFORE, BEFORE + text, text], add_special_tokens=False, verbose=False
        )["input_ids"]
        return whole[len(before) :] if text != BEFORE and whole[: len(before)] == before else alone

    @staticmethod
    def _special(encoder: PromptEncoder) -> tuple[list[int], list[int]]:
        """Return the special tokens before and after a text."""
        inner, whole = Prompts._ids(encoder, BEFORE), encoder.tokenizer(BEFORE)["input_ids"]
        place = next(n for n in range(len(whole)) if whole[n : n + len(inner)] == inner)
        return whole[:place], whole[place + len(inner) :]


class PromptClassifier(nn.Module):
    """Scores of texts for all classes.

    Args:
        encoder: a frozen text tower.
        prompts: of the classes; None: no text prototypes (b alone).
        visual: (c, d) unit rows; None: no visual prototypes (b = 0).
        with_images: texts come with images of their own.

    Raises:
        ValueError: there are no prototypes, or none to compare the images of texts with.
    """

    visual: Tensor | None

    def __init__(
        self, encoder: PromptEncoder, prompts: Prompts | None, visual: Tensor | None, *, with_images: bool = False
    ) -> None:
        super().__init__()
        if visual is None and (prompts is None or with_images):
            raise ValueError("Give prompts, visual prototypes or both; images of texts need visual prototypes.")
        self.encoder, self.prompts = encoder, prompts
        self.register_buffer("visual", visual, persistent=False)
        self.scale = nn.Parameter(_inverse_softplus(torch.tensor([1.0, 0.5, 0.5][: 2 + with_images])))  # a, b, c
        self._fixed: Tensor | None = None
        if prompts is not None and prompts.context is None:
            with torch.no_grad():
                self._fixed = encoder.encode(*prompts())
        with torch.no_grad():
            like = [self.text_prototypes() if prompts is not None else None, visual]
        self.residuals = nn.ParameterList([nn.Parameter(torch.zeros_like(one)) for one in like if one is not None])

    def text_prototypes(self) -> Tensor:
        """Return (c, d) unit rows."""
        assert self.prompts is not None
        return self._fixed if self._fixed is not None else self.encoder.encode(*self.prompts())

    def forward(self, embeddings: Tensor, images: Tensor | None = None) -> Tensor:
        """Return (n, c) logits of (n, d) unit rows, and those of their images where texts come with images."""
        a, b, *c = F.softplus(self.scale)
        parts = ([(a, self.text_prototypes())] if self.prompts is not None else []) + (
            [(b, self.visual)] if self.visual is not None else []
        )
        scores = torch.zeros((), device=embeddings.device)
        for (weight, prototypes), residual in zip(parts, self.residuals, strict=True):
            scores = scores + weight * embeddings @ F.normalize(prototypes + residual, dim=-1).T
        if images is not None and self.visual is not None:
            scores = scores + c[0] * images @ self.visual.T
        return scores / self.encoder.temperature

    def penalty(self) -> Tensor:
        """Return the mean squared length of the learned vectors d and e."""
        return torch.stack([residual.square().sum(dim=1).mean() for residual in self.residuals]).sum()


def tune_prompts(
    classifier: PromptClassifier, shots: Tensor, labels: Tensor, settings: TuningSettings, images: Tensor | None = None
) -> list[float]:
    """Train a classifier on its shots; return the loss of each step.

    Nothing in it is random: the start is the same each time, and a batch holds all shots.

    Args:
        shots: (n, d) unit rows.
        labels: (n,) int64.
        settings: of the training.
        images: (n, d) unit rows of the shots' images, where texts come with images.
    """
    parameters = [one for one in classifier.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    losses = []
    for _ in range(settings.epochs):
        loss = F.cross_entropy(classifier(shots, images), labels) + settings.residual_penalty * classifier.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def _inverse_softplus(value: Tensor) -> Tensor:
    return torch.log(torch.expm1(value))


__all__ = ["PENALTIES", "PromptClassifier", "Prompts", "TuningSettings", "tune_prompts"]
