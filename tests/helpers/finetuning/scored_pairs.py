"""A random model that scores pairs, with texts and images of several lengths for it."""

import torch
from helpers.mlmm.corpus_files import INFO, region_row
from wenlan.modeling_mlmm import MLMMConfig, MLMMForImageTextRetrieval
from wenlan.processing import MLMMProcessor, load_small_tokenizer

WORDS = ("a lion", "a fox and a key", "鲸鱼", "ein Löwe, ein Fuchs und ein Schlüssel", "un lion")


def build_scorer_parts(seed=0, **changes):
    """Returns the model, its processor, and seven images."""
    torch.manual_seed(seed)
    processor = MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    config = MLMMConfig(
        vocab_size=len(processor.tokenizer),
        region_feature_dim=INFO.feature_dim,
        **sizes,
        max_position_embeddings=70,
        **changes,
    )
    model = MLMMForImageTextRetrieval(config).eval()
    torch.nn.init.normal_(model.rank_head.weight)
    images = [region_row(str(number), [number % 4] * (1 + number % 3), seed=number) for number in range(7)]
    return model, processor, images


def make_texts(count):
    """So many different texts."""
    return [f"{WORDS[number % len(WORDS)]} {number}" for number in range(count)]
