"""PET and p-tuning: a masked language model classifies a text by the word that it puts before it.

The text stands after 这篇[MASK][MASK]论文阐述了, and a class's score is the sum of the log-probabilities of its two
characters at the two masks. *PET* trains the whole model; *p-tuning* puts learned vectors in place of the words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ...data.csldcp.label_words import LENGTH
from ...data.files.model_folder import open_pretrained
from ...processing.text_inputs import check_tokenizer

BEFORE, AFTER = "这篇", "论文阐述了"
Method = Literal["pet", "ptuning"]


@dataclass(frozen=True)
class MaskedLMSettings:
    """Those of FewCLUE's own PET for this task where it has them.

    Attributes:
        method: "pet" or "ptuning".
        epochs: over the shots.
        batch_size: texts a step.
        learning_rate: of the model's weights, by Adam; 0: they stay (p-tuning alone).
        prompt_vectors: of p-tuning, half before the masks and half after.
        prompt_learning_rate: of these.
        max_length: tokens of a text with its prompt.
        seed: of the order of the shots and of the start of the vectors.
    """

    method: Method = "pet"
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 1e-5
    prompt_vectors: int = 8
    prompt_learning_rate: float = 1e-3
    max_length: int = 128
    seed: int = 0


def open_masked_lm(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a masked language model in float32 with all of its weights, and its tokenizer.

    Raises:
        MissingModelError: there is none.
        ValueError: it has no head of masked language modelling, or no tokenizer with a mask that fits it.
    """
    model = open_pretrained(AutoModelForMaskedLM, name, dtype=torch.float32, is_whole=True)
    tokenizer = open_pretrained(AutoTokenizer, name)
    check_tokenizer(tokenizer, name, model.config.vocab_size)
    if tokenizer.mask_token_id is None:
        raise ValueError(f"The tokenizer in {name} has no mask token; give a model that was trained with one.")
    return model, tokenizer


def word_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> Tensor:
    """Return (classes, 2) the token ids of the characters of label words.

    Raises:
        ValueError: a word is not two characters that the tokenizer knows as tokens.
    """
    rows = []
    for word in words:
        ids = [tokenizer.convert_tokens_to_ids(letter) for letter in word]
        if len(word) != LENGTH or None in ids or tokenizer.unk_token_id in ids:
            raise ValueError(f"The label word {word!r} is not {LENGTH} tokens of the model; give --label_words a TSV.")
        rows.append(ids)
    return torch.tensor(rows)


class MaskedLMClassifier(nn.Module):
    """Scores of texts for all classes by a masked language model.

    Args:
        model, tokenizer: of `open_masked_lm`; the model changes in training.
        words: (classes, 2) of `word_ids`.
        settings: how it is trained.
    """

    vectors: nn.Parameter | None

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, words: Tensor, settings: MaskedLMSettings
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.words, self.settings = model, tokenizer, words, settings
        self.vectors = None
        if settings.method == "ptuning":
            table = next(model.get_input_embeddings().parameters())
            generator = torch.Generator().manual_seed(settings.seed)
            drawn = torch.randn(settings.prompt_vectors, table.shape[1], generator=generator)
            self.vectors = nn.Parameter((table.std().item() * drawn).to(table.device))

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return `input_ids` (b, l), `attention_mask` (b, l) and `masks` (b, 2), the places of the two masks.

        In p-tuning the places of learned vectors hold masks, too.
        """
        mask = self.tokenizer.mask_token
        count = self.settings.prompt_vectors
        before, after = (BEFORE, AFTER) if self.vectors is None else (mask * (count - count // 2), mask * (count // 2))
        prompts = [f"{before}{mask * LENGTH}{after}{text.replace(mask, ' ')}" for text in texts]
        options = {"truncation": True, "max_length": self.settings.max_length, "padding": True, "return_tensors": "pt"}
        encoded = self.tokenizer(prompts, verbose=False, **options)
        places = (encoded["input_ids"] == self.tokenizer.mask_token_id).nonzero()[:, 1].view(len(texts), -1)
        start = 0 if self.vectors is None else count - count // 2
        found = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        return found | {"masks": places[:, start : start + LENGTH], "prompt": places}

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return (b, classes) scores."""
        encoded = self.encode(texts)
        device = self.model.device
        ids, masks = encoded["input_ids"].to(device), encoded["masks"].to(device)
        embeds = self.model.get_input_embeddings()(ids)
        if self.vectors is not None:
            count = self.settings.prompt_vectors
            start, rows = count - count // 2, torch.arange(len(ids))[:, None]
            places = torch.cat([encoded["prompt"][:, :start], encoded["prompt"][:, start + LENGTH :]], dim=1).to(device)
            embeds = embeds.index_put((rows.to(device), places), self.vectors.expand(len(ids), -1, -1))
        logits = self.model(inputs_embeds=embeds, attention_mask=encoded["attention_mask"].to(device)).logits
        at_masks = logits[torch.arange(len(ids))[:, None].to(device), masks].log_softmax(dim=-1)  # (b, 2, v)
        return torch.stack([at_masks[:, place, self.words[:, place]] for place in range(LENGTH)]).sum(dim=0)

    def fit(self, texts: Sequence[str], labels: np.ndarray) -> list[float]:
        """Train on shots; return the loss of each step."""
        settings, targets = self.settings, torch.from_numpy(labels).to(self.model.device)
        trains = settings.learning_rate > 0
        self.model.requires_grad_(trains)
        groups = [{"params": list(self.model.parameters()), "lr": settings.learning_rate}] if trains else []
        if self.vectors is not None:
            groups.append({"params": [self.vectors], "lr": settings.prompt_learning_rate})
        optimizer = torch.optim.Adam(groups)
        rng, losses = np.random.default_rng(settings.seed), []
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)  # of dropout
            for _ in range(settings.epochs):
                order = rng.permutation(len(texts))
                for start in range(0, len(order), settings.batch_size):
                    batch = order[start : start + settings.batch_size]
                    loss = F.cross_entropy(self([texts[index] for index in batch]), targets[batch])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
        self.model.eval()
        return losses

    @torch.no_grad()
    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> np.ndarray:
        """Return (n,) the class of each text."""
        self.model.eval()
        parts = [self(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
        return torch.cat(parts).argmax(dim=1).cpu().numpy()


__all__ = ["MaskedLMClassifier", "MaskedLMSettings", "open_masked_lm", "word_ids"]
