"""Evaluation of BriVL on emoji7: retrieval and zero-shot groups on drawing styles it never saw."""

import logging

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from ...data.emoji7.dataset import GROUP_NAMES, check_language
from ...processing.processing_brivl import BriVLProcessor
from ..retrieval.recall import retrieval_recalls
from .accuracy import mean_embedding, top_k_accuracy
from .embeddings import Emoji7Embeddings

logger = logging.getLogger(__name__)

# The validation style chooses settings; the test style (fluent3d) only reports.
RETRIEVAL_SPLITS = ("validation", "test", "test_held", "test_held_noto")
ZERO_SHOT_SPLITS = ("validation", "test")


def evaluate_emoji7(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    *,
    language: str = "zh",
    permute_names_seed: int | None = None,
    progress: bool = False,
    embeddings: Emoji7Embeddings | None = None,
) -> dict[str, dict[str, float | int | str]]:
    """Evaluate a model on the splits of emoji7 that it was not trained on.

    Retrieval takes the concept's name as text, both directions. Zero-shot classifies images into the 8 groups, by one
    prompt a group (its name) and by the mean embedding of the group's training names. Everything stands beside its
    chance level; metrics are percentages.

    Args:
        model, processor: a `BriVLModel` and its processor.
        language: of the names and group prompts.
        permute_names_seed: shuffles which name and group belong to which image: a control that must fall to chance.
        progress: show progress bars.
        embeddings: of this model, where another evaluation has them already.

    Returns:
        `{split}/retrieval`, `{split}/zero_shot_prompt`, `{split}/zero_shot_prototype`: metrics, `style`, `candidates`.

    Raises:
        ValueError: the language is not in `LANGUAGES`, or embeddings are not finite.
    """
    check_language(language)
    embeddings = embeddings or Emoji7Embeddings(model, processor, progress=progress)
    splits = embeddings.splits
    name = f"name_{language}"
    groups = list(GROUP_NAMES[language])
    prompts = embeddings.texts(GROUP_NAMES[language].values())
    prototypes = _group_prototypes(embeddings, splits["train"].select_columns([name, "group"]), name, groups)
    results = {}
    for split in RETRIEVAL_SPLITS:
        rows = splits[split]
        order = np.arange(len(rows))
        if permute_names_seed is not None:
            order = np.random.default_rng(permute_names_seed).permutation(len(rows))
        images = embeddings.images(split)
        texts = embeddings.texts(rows[name])[order]
        about = {"style": rows[0]["style"], "candidates": len(rows)}
        scores = texts.astype(np.float64) @ images.T  # float32 would round close scores to ties
        results[f"{split}/retrieval"] = about | retrieval_recalls(scores, range(len(rows)))
        if split in ZERO_SHOT_SPLITS:
            labels = np.array([groups.index(group) for group in rows["group"]])[order]
            about["candidates"] = len(groups)
            results[f"{split}/zero_shot_prompt"] = about | top_k_accuracy(images, prompts, labels)
            results[f"{split}/zero_shot_prototype"] = about | top_k_accuracy(images, prototypes, labels)
    return results


def _group_prototypes(embeddings: Emoji7Embeddings, rows: Dataset, name: str, groups: list[str]) -> np.ndarray:
    group_of_name = dict(zip(rows[name], rows["group"], strict=True))
    names = embeddings.texts(group_of_name)
    members = np.array([groups.index(group) for group in group_of_name.values()])
    return np.stack([mean_embedding(names[members == index]) for index in range(len(groups))])


__all__ = ["evaluate_emoji7"]
