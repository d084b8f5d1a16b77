"""Drawn scenes whose sentences name what is in them: known boxes say which regions a word ought to attend to."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import box_area, box_iou

from ...data.emoji_scenes.dataset import SPLIT_STEP, generate_scene, scene_seed, split_styles, text_seed
from ...data.emoji_scenes.vocabulary import CLASS_NAMES
from ...data.rows.languages import LANGUAGES
from ...data.rows.types import SceneRow
from .words import Span, find_names

MIN_IOU = 0.5
NO_CLASS = -1


@dataclass(frozen=True)
class AttentionScene:
    """An image with n regions, and a sentence in each language that names k classes of things in it.

    Attributes:
        image_id: number of the scene.
        image: RGB.
        regions: row of its regions, as of `read_regions`.
        region_classes: (n,) int64, the class of the drawn thing that a region fits, -1 for none.
        texts: language -> sentence.
        classes: (k,) int64, what the words name; word i of one language translates word i of another.
        spans: language -> k places of the words.
        largest_class: the class of the thing with the largest box.
    """

    image_id: int
    image: Image.Image
    regions: Mapping[str, object]
    region_classes: Tensor
    texts: dict[str, str]
    classes: Tensor
    spans: dict[str, list[Span]]
    largest_class: int

    @property
    def is_of_class(self) -> Tensor:
        """(k, n) bool: a region is of the class that a word names."""
        return self.region_classes == self.classes[:, None]

    def with_sentences_of(self, other: "AttentionScene") -> "AttentionScene":
        """Return this scene with the sentences and words of another one."""
        return replace(self, texts=other.texts, classes=other.classes, spans=other.spans)


def draw_scenes(count: int, *, seed: int = 0, split: str = "test") -> Iterator[SceneRow]:
    """Yield scenes of a split that are drawn at random out of the million that it may have.

    Raises:
        ValueError: an unknown split, or a count out of range.
    """
    if not 1 <= count <= SPLIT_STEP:
        raise ValueError(f"{count} scenes; give 1 to {SPLIT_STEP}.")
    for index in random.Random(seed).sample(range(SPLIT_STEP), count):
        yield generate_scene(scene_seed(split, index), styles=split_styles(split), text_seed=text_seed(split, index))


def build_scene(scene: SceneRow, regions: Mapping[str, object], languages: Sequence[str] = LANGUAGES) -> AttentionScene:
    """Return a drawn scene with the regions found in it, and its sentence that names each class once.

    A region has the class of the thing that it overlaps most, from an intersection over union of `MIN_IOU`.
    """
    things = scene["objects"]
    classes = sorted({thing["category_id"] for thing in things})
    texts = {language: scene["captions"][language][0] for language in languages}
    names = {language: [CLASS_NAMES[language][one] for one in classes] for language in languages}
    places = {language: find_names(texts[language], names[language]) for language in languages}
    boxes, owners = torch.tensor([thing["bbox"] for thing in things]), [thing["category_id"] for thing in things]
    best = box_iou(torch.as_tensor(regions["boxes"]).float(), boxes).max(dim=1)
    named = torch.tensor(owners)[best.indices]
    return AttentionScene(
        image_id=scene["image_id"],
        image=scene["image"],
        regions=regions,
        region_classes=named.masked_fill(best.values < MIN_IOU, NO_CLASS),
        texts=texts,
        classes=torch.tensor(classes),
        spans={language: [places[language][name] for name in names[language]] for language in languages},
        largest_class=owners[int(box_area(boxes).argmax())],
    )


__all__ = ["MIN_IOU", "NO_CLASS", "AttentionScene", "build_scene", "draw_scenes"]
