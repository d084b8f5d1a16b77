"""A text encoder trained further on texts alone: masked language modelling on the names that BriVL saw with images."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling, PreTrainedModel

from ...data.emoji7.dataset import training_texts
from ...data.files.hashing import hash_json
from ...data.files.json_files import write_json
from ...data.files.manifest import MANIFEST, agree_with_manifest
from ..text_tower import load_text_tower, load_text_weights

logger = logging.getLogger(__name__)

BATCH, LEARNING_RATE, WARM_UP, MASKED = 64, 5e-5, 0.1, 0.3  # masked: names have few tokens
MAX_TOKENS = 32
LOSSES = "losses.json"


def emoji7_texts(languages: Sequence[str]) -> list[str]:
    """Return the different names and keywords of the concepts that are trained on, sorted."""
    return sorted({text for language in languages for text in training_texts(language)})


def train_further(source: str, texts: Sequence[str], folder: Path, *, steps: int, seed: int) -> Path:
    """Write an encoder that was trained further by masked language modelling, and its tokenizer; return the folder.

    The token embeddings stay as they are, for words that the texts do not have; the head starts new, tied to them, and
    is not kept. Nothing is done where the folder has been made.

    Args:
        source: as in `load_text_tower`.
        texts: are drawn evenly, a batch of 64 a step.
        folder: to write.
        steps: of AdamW, whose rate rises for a tenth of them and falls to 0.
        seed: of the head, the order and the masks.

    Raises:
        ValueError: the tokenizer has no mask, or the folder was made otherwise.
    """
    about: dict[str, object] = {"source": source, "texts": hash_json(list(texts)), "steps": steps, "seed": seed}
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
        losses = _train(model, collate, texts, steps)
    encoder: PreTrainedModel = model.base_model
    encoder.save_pretrained(folder)
    tower.tokenizer.save_pretrained(folder)
    write_json(folder / LOSSES, losses)
    write_json(folder / MANIFEST, about)
    return folder


def _train(
    model: PreTrainedModel, collate: DataCollatorForLanguageModeling, texts: Sequence[str], steps: int
) -> list[float]:
    model.get_input_embeddings().requires_grad_(False)
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / max(WARM_UP * steps, 1), (steps - step) / max((1 - WARM_UP) * steps, 1)),
    )
    order, losses = torch.randperm(len(texts)), []
    model.train()
    for step in range(steps):
        chosen = order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(texts)]
        batch = [texts[index] for index in chosen]
        encoded = collate.tokenizer(batch, truncation=True, max_length=MAX_TOKENS, return_special_tokens_mask=True)
        rows = [{name: values[number] for name, values in encoded.items()} for number in range(len(batch))]
        loss = model(**collate(rows)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate.step()
        losses.append(loss.item())
        if step % 20 == 0:
            logger.info("step %d of %d, loss %.2f", step, steps, losses[-1])
    return losses


__all__ = ["emoji7_texts", "train_further"]
