"""A text encoder trained further on texts alone: masked language modelling on the names that BriVL saw with images."""

import logging
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, BatchEncoding, DataCollatorForLanguageModeling, PreTrainedModel

from ...data.emoji7.dataset import training_texts
from ...data.files.hashing import hash_json
from ...data.files.json_files import write_json
from ...data.files.manifest import MANIFEST, agree_with_manifest
from ..text_tower import load_text_tower, load_text_weights

logger = logging.getLogger(__name__)

BATCH, WARM_UP, MASKED = 64, 0.1, 0.3  # masked: names have few tokens
HEAD_RATE, RATE = 1e-3, 5e-5  # learning rates
MAX_TOKENS = 32
LOSSES = "losses.json"


def emoji7_texts(languages: Sequence[str]) -> list[str]:
    """Return the different names and keywords of the concepts that are trained on, sorted."""
    return sorted({text for language in languages for text in training_texts(language)})


def train_further(source: str, texts: Sequence[str], folder: Path, *, steps: int, seed: int) -> Path:
    """Write an encoder that was trained further by masked language modelling, and its tokenizer; return the folder.

    The token embeddings stay as they are, for words that the texts do not have. The head starts new, tied to them, and
    is not kept; so that it doesn't spoil the encoder, it first learns alone for as many steps. Nothing is done where
    the folder has been made.

    Args:
        source: as in `load_text_tower`.
        texts: are drawn evenly, a batch of 64 a step.
        folder: to write.
        steps: of AdamW on all weights, after as many of the head; the rate rises for a tenth of them and falls to 0.
        seed: of the head, the order and the masks.

    Raises:
        ValueError: the tokenizer has no mask, or the folder was made otherwise.
    """
    about: dict[str, object] = {"source": source, "texts": hash_json(list(texts)), "steps": steps, "seed": seed}
    about["head_steps"] = steps
    if (folder / MANIFEST).exists():
        agree_with_manifest(folder, about, shards="*.safetensors")
        return folder
    tower = load_text_tower(source)
    if tower.tokenizer.mask_token_id is None:
        raise ValueError(f"The tokenizer of {source} has no mask token, so it cannot be trained on texts alone.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForMaskedLM.from_config(tower.config, dtype=torch.float32)
        model.base_model.load_state_dict(load_text_weights(source), strict=False)
        model.tie_weights()
        collate = DataCollatorForLanguageModeling(tower.tokenizer, mlm_probability=MASKED)
        collate.generator = torch.Generator().manual_seed(seed)  # its own `seed` is refused in a child process
        batches = _batches(collate, texts)
        model.get_input_embeddings().requires_grad_(False)
        learned = [one for one in model.base_model.parameters() if one.requires_grad]
        for one in learned:
            one.requires_grad_(False)
        losses = _train(model, batches, HEAD_RATE, steps)
        for one in learned:
            one.requires_grad_(True)
        losses += _train(model, batches, RATE, steps)
    encoder: PreTrainedModel = model.base_model
    encoder.save_pretrained(folder)
    tower.tokenizer.save_pretrained(folder)
    write_json(folder / LOSSES, losses)
    write_json(folder / MANIFEST, about)
    return folder


def _batches(collate: DataCollatorForLanguageModeling, texts: Sequence[str]) -> Iterator[BatchEncoding]:
    order = torch.randperm(len(texts))
    for start in count(0, BATCH):
        batch = [texts[index] for index in order[torch.arange(start, start + BATCH) % len(texts)]]
        encoded = collate.tokenizer(batch, truncation=True, max_length=MAX_TOKENS, return_special_tokens_mask=True)
        yield collate([{name: values[row] for name, values in encoded.items()} for row in range(BATCH)])


def _train(model: PreTrainedModel, batches: Iterator[BatchEncoding], rate: float, steps: int) -> list[float]:
    """Train what has a gradient; return the loss of each step."""
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer, losses = torch.optim.AdamW(parameters, lr=rate), []
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / max(WARM_UP * steps, 1), (steps - step) / max((1 - WARM_UP) * steps, 1)),
    )
    model.train()
    for step, batch in enumerate(islice(batches, steps)):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 20 == 0:
            logger.info("step %d of %d, loss %.2f", step, steps, losses[-1])
    return losses


__all__ = ["emoji7_texts", "train_further"]
