"""Class anchors: the unit vectors of class names in templates, and the scores of images with them.

*anchor*: the mean over the templates of the embeddings of a name, of unit length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...data.zero_shot.class_list import ClassList
from ...data.zero_shot.templates import PLACE
from .accuracy import mean_embedding
from .embeddings import TextEmbeddings

Synonyms = Literal["max", "mean", "first"]


@dataclass(frozen=True)
class ClassAnchors:
    """The anchors of some classes.

    Attributes:
        embeds: (m, d) unit rows, one or more a class.
        owners: (m,) index of the class of each.
        count: of classes.
    """

    embeds: Tensor
    owners: Tensor
    count: int

    def to(self, device: torch.device | str) -> "ClassAnchors":
        """Return the same on a device."""
        return ClassAnchors(self.embeds.to(device), self.owners.to(device), self.count)

    def scores(self, image_embeds: Tensor) -> Tensor:
        """Return (b, count) the cosine of images (b, d) with each class; of several anchors of a class, the best."""
        cosines = (image_embeds @ self.embeds.T)[:, self._first_equal]  # (b, m)
        if len(self.owners) == self.count:
            return cosines
        lowest = cosines.new_full((len(cosines), self.count), -torch.inf)
        return lowest.scatter_reduce(1, self.owners.expand_as(cosines), cosines, "amax")

    @cached_property
    def _first_equal(self) -> Tensor:
        """(m,) the first of the anchors equal to each: a product rounds equal rows differently, which breaks ties."""
        _, first, place = np.unique(self.embeds.cpu().numpy(), axis=0, return_index=True, return_inverse=True)
        return torch.from_numpy(first[place.reshape(-1)]).to(self.embeds.device)


def class_anchors(
    embed: TextEmbeddings, classes: ClassList, templates: Sequence[str], *, synonyms: Synonyms = "max"
) -> ClassAnchors:
    """Return the anchors of classes, on the CPU.

    Args:
        embed: of the model.
        classes: in order.
        templates: with one {} each.
        synonyms: "max" gives each name of a class an anchor of its own, of which the nearest counts; "mean" one anchor
            to a class, the mean of those of its names; "first" one to its first name.

    Raises:
        ValueError: no template, or embeddings that are not finite.
    """
    if not templates:
        raise ValueError(f"There is no template; the bare name is {PLACE!r}.")
    names = [own[:1] if synonyms == "first" else own for own in classes.names]
    owners = np.repeat(np.arange(len(names)), [len(own) for own in names])
    texts = [template.replace(PLACE, name) for own in names for name in own for template in templates]
    by_name = embed.texts(texts).reshape(len(owners), len(templates), -1)
    anchors = np.stack([mean_embedding(embeds) for embeds in by_name])
    if synonyms == "mean":
        anchors = np.stack([mean_embedding(anchors[owners == index]) for index in range(len(names))])
        owners = np.arange(len(names))
    return ClassAnchors(torch.from_numpy(anchors), torch.from_numpy(owners), len(names))


__all__ = ["ClassAnchors", "Synonyms", "class_anchors"]
