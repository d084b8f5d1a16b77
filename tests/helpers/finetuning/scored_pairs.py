"""A random model that scores pairs, with texts and images of several lengths for it."""

import torch
from helpers.mlmm.corpus_files import INFO, region_row
from helpers.mlmm.tiny import tiny_config
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval
from wenlan.processing import MLMMProcessor, load_small_tokenizer

WORDS = ("a lion", "a fox and a key", "鲸鱼", "ein Löwe, ein Fuchs und ein Schlüssel", "un lion")


def build_scorer_parts(seed=0, **changes):
    """Returns the model, its processor, and seven images."""
    torch.manual_seed(seed)
    processor = MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)
    sizes = {"vocab_size": len(processor.tokenizer), "region_feature_dim": INFO.feature_dim}
    model = MLMMForImageTextRetrieval(tiny_config(**sizes, max_position_embeddings=70, **changes)).eval()
    torch.nn.init.normal_(model.rank_head.weight)
    images = [region_row(str(number), [number % 4] * (1 + number % 3), seed=number) for number in range(7)]
    return model, processor, images


def make_texts(count):
    """So many different texts."""
    return [f"{WORDS[number % len(WORDS)]} {number}" for number in range(count)]
