"""A pre-trained MLMM that runs in milliseconds, for the images of `mlmm_corpus_files`, and recipes for it."""

import yaml
from helpers.mlmm.corpus_files import INFO
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining
from wenlan.processing import MLMMProcessor, load_small_tokenizer
from wenlan.training.recipe import find_recipe

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
SMOKE = ["--use_cpu", "true", "--disable_tqdm", "true", "--bf16", "false", "--dataloader_num_workers", "0"]


def save_pretrained_mlmm(folder, **changes):
    """Saves a random model with all heads, and its processor; returns the folder as text."""
    processor = MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)
    sizes = {**SIZES, "max_position_embeddings": 70, "region_feature_dim": INFO.feature_dim}
    sizes |= {"num_region_classes": INFO.num_classes, "region_background_index": INFO.background_index}
    MLMMForPreTraining(MLMMConfig(vocab_size=len(processor.tokenizer), **sizes, **changes)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def write_retrieval_recipe(path, name="retrieval_tiny", **changes):
    """A shipped recipe with changes; what is None is left out."""
    recipe = yaml.safe_load(find_recipe(name).read_text("utf-8"))
    recipe = {key: value for key, value in (recipe | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), "utf-8")
    return str(path)
