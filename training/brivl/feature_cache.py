"""The feature maps of a frozen backbone, computed once and drawn from in every epoch."""

import torch
from timm.models import EfficientNet
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ...data.pairs.dataset import TrainingPairs
from ...data.rows.types import PairExample
from ...processing.collators.brivl import ContrastiveCollator


class CachedFeatureMaps(Dataset):
    """Pairs whose images are replaced by the feature map of one of `views` augmented copies.

    A backbone that does not train gives the same map for the same pixels, so it runs `views` times per image in all
    instead of once per image and epoch. The first view is the image as it is.

    Args:
        pairs: rows with `image` and `draw_seed`, and `set_epoch(epoch)`: the draws of epoch v make view v.
        backbone: has `forward_features`; frozen and in evaluation mode.
        collator: makes `pixel_values` from rows; its augmentation makes the views.
        views: copies per image.
        batch_size: images at a time.

    Raises:
        ValueError: for a backbone that trains.
    """

    def __init__(
        self,
        pairs: TrainingPairs,
        backbone: EfficientNet,
        collator: ContrastiveCollator,
        *,
        views: int,
        batch_size: int = 64,
    ) -> None:
        if backbone.training or any(parameter.requires_grad for parameter in backbone.parameters()):
            raise ValueError("Feature maps can only be cached for a frozen backbone in evaluation mode.")
        self.pairs = pairs
        self.feature_maps = torch.stack([self._view(backbone, collator, v, batch_size, views) for v in range(views)])
        pairs.set_epoch(0)

    @torch.inference_mode()
    def _view(
        self, backbone: EfficientNet, collator: ContrastiveCollator, view: int, batch_size: int, views: int
    ) -> torch.Tensor:
        self.pairs.set_epoch(view)
        if view == 0:
            collator = ContrastiveCollator(collator.processor)
        batches = DataLoader(self.pairs, batch_size=batch_size, collate_fn=collator)
        bar = tqdm(batches, desc=f"feature maps, view {view + 1} of {views}")
        maps = [backbone.forward_features(batch["pixel_values"]).half() for batch in bar]
        if sum(map(len, maps)) != len(self.pairs):
            raise ValueError(
                f"Images could not be decoded: {dict(collator.bad_rows.counts)}. Leave their rows out before training: "
                "read_pairs(..., check_image=decode_image) does."
            )
        return torch.cat(maps)  # (pairs, c, h, w)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair as drawn in the current epoch, with `feature_map` (c, h, w) float16 for `image`."""
        pair = self.pairs[index]
        del pair["image"]
        pair["feature_map"] = self.feature_maps[pair["draw_seed"] % len(self.feature_maps), index]
        return pair

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self.pairs.set_epoch(epoch)


__all__ = ["CachedFeatureMaps"]
