"""A pre-trained MLMM that runs in milliseconds, for the images of `helpers.mlmm.corpus_files`."""

from pathlib import Path

from helpers.mlmm.corpus_files import INFO
from helpers.mlmm.tiny import tiny_config
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.processing import MLMMProcessor, load_small_tokenizer


def save_pretrained_mlmm(folder: Path, **changes) -> str:
    """Saves a random model with all heads, and its processor; returns the folder as text."""
    processor = MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 70}
    sizes |= {"region_feature_dim": INFO.feature_dim, "num_region_classes": INFO.num_classes}
    config = tiny_config(**sizes, region_background_index=INFO.background_index, **changes)
    MLMMForPreTraining(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
