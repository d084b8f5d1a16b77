"""Regions that enter a pre-trained text tower as the names of their classes do, before anything is trained.

A new projection gives regions that mean nothing to the tower, and it learns the sentences of a corpus long before it
learns to look. Fitted to the word embeddings of the classes' names, they are words of its own language from the start.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedTokenizerBase

from ...data.emoji_scenes.vocabulary import CLASS_NAMES
from ...data.files.model_folder import open_pretrained
from ...data.mlmm.corpus import MLMMCorpus
from ...data.regions.schema import RegionInfo
from ...modeling_mlmm.embeddings import MLMMTextEmbeddings
from ...modeling_mlmm.pretraining import MLMMForPreTraining
from ...processing.collators.region_batch import RegionCollator
from ...processing.processing_mlmm import MLMMProcessor

SAMPLE, BATCH = 20_000, 256  # regions that the projection is fitted to; images read together
RIDGE = 0.01  # of the mean variance of a feature
BOX_SCALE = 0.2  # of the place of a region against its content
POSITIONS = 20  # of words whose mean a region gets, since it has no position of its own

Names = Mapping[str, Sequence[str]]  # language -> name of each class


def load_region_names(source: str, info: RegionInfo, detector: str | None) -> Names:
    """Return the names of the regions' classes by language.

    Args:
        source: "emoji_scenes", whose classes have names in seven languages, or "detector", for those in its config.
        info: of the regions.
        detector: folder or hub id of the regions' detector.

    Raises:
        ValueError: an unknown source, no detector, or names of another number of classes than the regions have.
    """
    if source == "emoji_scenes":
        names: Names = CLASS_NAMES
    elif source == "detector" and detector:
        labels = open_pretrained(AutoConfig, detector).id2label
        names = {"en": [labels[index] for index in sorted(labels)]}
    else:
        raise ValueError(f"region_names is {source!r}; give emoji_scenes, or detector and which one as `detector`.")
    for language, found in names.items():
        if len(found) != info.num_classes - 1:
            raise ValueError(
                f"region_names: {source} has {len(found)} names in {language}, and the regions have "
                f"{max(info.num_classes - 1, 0)} classes without the background: extract them with that detector."
            )
    return names


@torch.no_grad()
def start_regions_as_names(
    model: MLMMForPreTraining, processor: MLMMProcessor, corpora: Sequence[MLMMCorpus], names: Names
) -> float:
    """Set the region embeddings so that regions start as the words that name their classes, where a word starts.

    The projection is a ridge regression from the features, as the model normalizes them, to the mean embedding of the
    words in all languages; norms and mask become the words' and the features' own. Nothing else of the model changes.

    Args:
        model: with a pre-trained text tower.
        processor: of the model.
        corpora: whose regions, with their class distributions, are fitted to; of many, evenly spaced images.
        names: language -> name of each class, the background left out.

    Returns:
        The fraction of the regions of which the nearest name is that of the class that the detector sees.

    Raises:
        ValueError: no image has regions that can be used, or a name is blank.
    """
    words, regions = model.mlmm.text_embeddings, model.mlmm.region_embeddings
    targets = _embed_names(words, processor.tokenizer, names)
    parts = list(_read_regions(processor, corpora))
    if not parts:
        raise ValueError("region_names: no image of the corpora has regions and class distributions that can be used.")
    features = regions.normalize(torch.cat([part for part, _ in parts]).to(targets.device))
    classes = torch.cat([part for _, part in parts]).to(targets.device)
    mean, wanted = features.mean(dim=0), targets[classes]
    inputs, outputs = (features - mean).double(), (wanted - wanted.mean(dim=0)).double()
    covariance = inputs.T @ inputs
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean())
    weight = torch.linalg.solve(covariance, inputs.T @ outputs).to(mean.dtype)
    regions.feature_projection.weight.copy_(weight.T)
    regions.feature_projection.bias.copy_(wanted.mean(dim=0) - mean @ weight)
    regions.mask_feature.copy_(mean)
    regions.box_norm.weight.fill_(BOX_SCALE)
    regions.norm.load_state_dict(words.norm.state_dict())
    found = F.normalize(regions.feature_projection(features) - wanted.mean(dim=0), dim=-1)
    nearest = (found @ F.normalize(targets - targets.mean(dim=0), dim=-1).T).argmax(dim=1)
    return float((nearest == classes).double().mean())


def _embed_names(words: MLMMTextEmbeddings, tokenizer: PreTrainedTokenizerBase, names: Names) -> Tensor:
    """Return (classes, h) what the norm of the word embeddings would read if a class were one word of all languages."""
    by_language = []
    for found in names.values():
        ids = tokenizer(list(found), add_special_tokens=False)["input_ids"]
        if not all(ids):
            raise ValueError(f"region_names: class {ids.index([])} has a blank name; give all classes one in id2label.")
        by_language.append(torch.stack([words.word_embeddings.weight[pieces].mean(dim=0) for pieces in ids]))
    each = torch.stack(by_language)
    mean = each.mean(dim=(0, 1))
    own = each.mean(dim=0) - mean
    # The mean over languages is nearly the same for all classes: what differs gets the size that it has in one.
    size = (each - each.mean(dim=1, keepdim=True)).square().mean().sqrt() / own.square().mean().sqrt()
    start = words.position_offset + 1  # behind <s>
    place = words.position_embeddings.weight[start : start + POSITIONS].mean(dim=0)
    return F.layer_norm(mean + size * own + place + words.token_type_embeddings.weight[0], mean.shape)


def _read_regions(processor: MLMMProcessor, corpora: Sequence[MLMMCorpus]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features (n, d) and classes (n,) of images evenly spaced over the corpora."""
    reader = RegionCollator(processor)
    step = max(1, sum(int(corpus.region_counts[corpus.images].sum()) for corpus in corpora) // SAMPLE)
    for corpus in corpora:
        places = corpus.images[::step]
        for start in range(0, len(places), BATCH):
            for row in corpus.read_images(places[start : start + BATCH].tolist(), with_labels=True):
                if (image := reader.read_image(row, with_class_probs=True)) is not None:
                    assert image.class_probs is not None  # they were asked for
                    others = torch.arange(image.class_probs.shape[1]) != row["background_index"]
                    yield image.features, image.class_probs[:, others].argmax(dim=1)


__all__ = ["Names", "load_region_names", "start_regions_as_names"]
