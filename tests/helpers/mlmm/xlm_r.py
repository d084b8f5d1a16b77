"""A small XLM-R with random weights and the small tokenizer, as a folder for `text_weights`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM
from wenlan.processing import load_small_tokenizer


def write_xlm_r(folder: Path, sizes: Mapping[str, Any], *, spare_rows: int = 0) -> XLMRobertaForMaskedLM:
    """Writes and returns it; `spare_rows` of its word embeddings have no piece in the tokenizer."""
    tokenizer = load_small_tokenizer()
    tokenizer.save_pretrained(folder)
    rows = len(tokenizer) + spare_rows
    config = XLMRobertaConfig(**sizes, vocab_size=rows, max_position_embeddings=70, type_vocab_size=1)
    model = XLMRobertaForMaskedLM(config).eval()
    model.save_pretrained(folder)
    return model
