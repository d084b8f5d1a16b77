"""Golden checkpoints of UC2 and UNITER as files, with tokenizers that have their vocabularies."""

from pathlib import Path

import torch
from helpers.mlmm.golden import Golden
from transformers import BertTokenizer, PreTrainedTokenizerBase, XLMRobertaTokenizer

# a piece of a word for every id that is no special one
PIECES = [*"123 abcdefghijklmnopqrstuvwxyz", *(f"x{number}" for number in range(500))]


def golden_tokenizer(golden: Golden) -> PreTrainedTokenizerBase:
    """Returns a tokenizer with the padding and as many pieces as a golden model."""
    size = golden.meta["config"]["vocab_size"]
    if golden.meta["family"] == "uniter":
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
        return BertTokenizer(vocab={name: index for index, name in enumerate(names[:size])})
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = ["▁", *PIECES][: size - len(specials) - 1]
    return XLMRobertaTokenizer(
        vocab=[*((name, 0.0) for name in specials), *((one, -5.0) for one in pieces), ("<mask>", 0)]
    )


def write_golden(folder: Path, case: str, *parts: str) -> Path:
    """Writes a checkpoint as the original saves it, a tokenizer, and the number of heads; returns the checkpoint."""
    golden = Golden(case)
    golden_tokenizer(golden).save_pretrained(folder / "tokenizer")
    heads = golden.meta["config"]["num_attention_heads"]
    (folder / "sizes.json").write_text(f'{{"num_attention_heads": {heads}}}', "utf-8")
    torch.save(golden.checkpoint("pretrain", *parts), folder / f"{case}.pt")
    return folder / f"{case}.pt"


__all__ = ["golden_tokenizer", "write_golden"]
