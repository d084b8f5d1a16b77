"""The maps that the frozen stages of an image backbone make of images, computed once and drawn from in every epoch."""

from collections.abc import Callable

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ...data.pairs.dataset import TrainingPairs
from ...data.rows.types import PairExample
from ...modeling_brivl.towers import BriVLVisionModel
from ...processing.collators.brivl import ContrastiveCollator


class CachedFeatureMaps(Dataset):
    """Pairs whose images are replaced by what the frozen stages make of one of `views` augmented copies.

    Stages that do not train give the same for the same pixels, so they run `views` times per image in all instead of
    once per image and epoch. The first view is the image as it is.

    Args:
        pairs: rows with `image` and `draw_seed`, and `set_epoch(epoch)`: the draws of epoch v make view v.
        tower: whose backbone it is. If all of that is frozen, rows get a `feature_map`, else `image_states`.
        collator: makes `pixel_values` from rows; its augmentation makes the views.
        views: copies per image.
        batch_size: images at a time.

    Raises:
        ValueError: for a backbone that trains from its first stage on, or images that cannot be decoded.
    """

    def __init__(
        self,
        pairs: TrainingPairs,
        tower: BriVLVisionModel,
        collator: ContrastiveCollator,
        *,
        views: int,
        batch_size: int = 64,
    ) -> None:
        parameters = list(tower.backbone.parameters())
        is_frozen = not any(parameter.requires_grad for parameter in parameters)
        if not is_frozen and tower.trunk_depth == 0:
            raise ValueError("cached_views needs a backbone whose first stages are frozen: give a trainable_backbone.")
        self.pairs, self.is_whole = pairs, is_frozen
        run = tower.backbone.forward_features if is_frozen else tower.run_trunk
        was_training = tower.training
        tower.eval()
        self.maps = torch.empty(0)  # (views, pairs, c, h, w)
        for view in range(views):
            self._fill(run, collator, view, batch_size, views)
        tower.train(was_training)
        pairs.set_epoch(0)

    @torch.inference_mode()
    def _fill(
        self,
        run: Callable[[torch.Tensor], torch.Tensor | None],
        collator: ContrastiveCollator,
        view: int,
        batch_size: int,
        views: int,
    ) -> None:
        self.pairs.set_epoch(view)
        if view == 0:
            collator = ContrastiveCollator(collator.processor)
        batches, place = DataLoader(self.pairs, batch_size=batch_size, collate_fn=collator), 0
        for batch in tqdm(batches, desc=f"feature maps, view {view + 1} of {views}"):
            if (states := run(batch["pixel_values"])) is None:
                continue
            if not len(self.maps):  # whole at once, since parts to be joined would need the memory twice
                self.maps = torch.empty(views, len(self.pairs), *states.shape[1:], dtype=torch.float16)
            self.maps[view, place : place + len(states)] = states
            place += len(states)
        if place != len(self.pairs):
            raise ValueError(
                f"Images could not be decoded: {dict(collator.bad_rows.counts)}. Leave their rows out before training: "
                "read_pairs(..., check_image=decode_image) does."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairExample:
        """Return the pair as drawn in the current epoch, with a map (c, h, w) in float16 for `image`."""
        pair = self.pairs[index]
        del pair["image"]
        of_the_image = self.maps[pair["draw_seed"] % len(self.maps), index]
        if self.is_whole:
            pair["feature_map"] = of_the_image
        else:
            pair["image_states"] = of_the_image
        return pair

    def set_epoch(self, epoch: int) -> None:
        """Change what is drawn; the Trainer calls it before each epoch."""
        self.pairs.set_epoch(epoch)

    def free(self) -> None:
        """Give back the memory of the maps: a Trainer, and its loader, hold the dataset for as long as they live."""
        self.maps = torch.empty(0)


__all__ = ["CachedFeatureMaps"]
