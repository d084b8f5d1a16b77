"""Further pairs from what an image classifier knows of its classes: a feature map for each class, with its names."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from ...data.emoji7.texts import FURTHER, ConceptTexts
from ...data.rows.types import PairExample
from .feature_cache import CachedFeatureMaps

STRENGTH = 3.0  # lengths of the mean feature that a class moves it by
QUANTILES = 100


@torch.inference_mode()
def class_features(classifier: Tensor, last_norm: nn.Module) -> Tensor:
    """Return (classes, c) the features of an image that speak for each class: the mean ones, moved along its row.

    No image is needed: weight and bias of the batch norm are deviation and mean of what ReLU6 makes the features of,
    over the images that the classifier was trained on.

    Args:
        classifier: (classes, c) rows.
        last_norm: the backbone's last batch norm, before ReLU6.
    """
    normal = torch.special.ndtri((torch.arange(QUANTILES) + 0.5) / QUANTILES)
    bias, weight = last_norm.get_parameter("bias"), last_norm.get_parameter("weight")
    mean = (bias[:, None] + weight[:, None] * normal).clamp(0, 6).mean(dim=1)
    directions = F.normalize(classifier - classifier.mean(dim=0), dim=1)
    return (mean + STRENGTH * mean.norm() * directions).clamp(0, 6)


class ClassEvidence(Dataset):
    """Cached pairs and behind them, once an epoch, each class: its features in all cells of a map, its names as texts.

    Args:
        pairs: with whole feature maps, and texts of `ConceptTexts` with the names of the classes as further groups.
        features: (classes, c) from `class_features`.

    Raises:
        ValueError: stages of the backbone train, so that the pairs have no feature maps.
    """

    def __init__(self, pairs: CachedFeatureMaps, features: Tensor) -> None:
        if not pairs.is_whole:
            raise ValueError("image_class_names needs an image backbone that is frozen whole: trainable_backbone [].")
        draw = pairs.pairs.draw_text
        assert isinstance(draw, ConceptTexts)  # as `load_pairs` gives them
        self.pairs, self.draw = pairs, draw
        self.maps = features.half()[..., None, None].expand(-1, -1, *pairs.maps.shape[-2:])

    def __len__(self) -> int:
        return len(self.pairs) + len(self.maps)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair, or the class, as drawn in the current epoch."""
        number = index - len(self.pairs)
        if number < 0:
            return self.pairs[index]
        rng = self.pairs.pairs.make_generator(index)
        draw_seed, texts = rng.getrandbits(63), self.draw.draw_further(number, rng)
        return PairExample(
            feature_map=self.maps[number],
            text=[one.text for one in texts],
            text_group_ids=[one.group_ids for one in texts],
            group_id=FURTHER + number,
            draw_seed=draw_seed,
        )

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self.pairs.set_epoch(epoch)

    def free(self) -> None:
        """Give back the memory of the cached feature maps."""
        self.pairs.free()


__all__ = ["ClassEvidence", "class_features"]
