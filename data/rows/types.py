"""The rows that travel through the package: a *row* is what a reader gives, an *example* what a collator takes.

`image` is never decoded in a row of a file: a path, or encoded bytes. Boxes are x1, y1, x2, y2 in absolute pixels of
the upright image; only those named `bbox` in COCO's form are x, y, width, height.
"""

from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict

import numpy as np

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Bytes = bytes  # the name of a key below


class StoredImage(TypedDict):
    """An undecoded `datasets.Image`: encoded bytes, or a path."""

    bytes: Bytes | None
    path: str | None


class PairRow(TypedDict):
    """A good row of a file of pairs; `text` holds one caption, or all those of the image."""

    image: StoredImage
    text: str | list[str]
    boxes: NotRequired[list[list[float]] | None]
    row_number: NotRequired[int]


class DrawnText(NamedTuple):
    """A text, and the groups of images that it is true of."""

    text: str
    group_ids: list[int]


class PairExample(TypedDict):
    """A pair as it is drawn for contrastive training; a `group_id` of -1 is unknown, `draw_seed` has 63 bits.

    `text` is one text, or several of the image, and then `text_group_ids` has the groups that each of them is true of.
    `feature_map` (c, h, w), what a frozen backbone made of the image, stands in its place, or `image_states`, what its
    frozen stages made of it; so do `text_states`, an (l, e) for each text, in that of the texts.
    """

    image: NotRequired["Bytes | str | Image.Image"]
    feature_map: NotRequired["Tensor"]
    image_states: NotRequired["Tensor"]
    text: str | list[str]
    text_group_ids: NotRequired[list[list[int]]]
    text_states: NotRequired[list["Tensor"]]
    group_id: NotRequired[int]
    draw_seed: NotRequired[int]
    boxes: NotRequired[list[list[float]]]


class CaptionRow(TypedDict):
    """An image of a data set with its captions by language; see `captions/rows.py`."""

    image_id: str
    image: str
    split: str
    captions: dict[str, list[str]]
    source: str


class RegionRow(TypedDict):
    """The regions of an image: boxes (n, 4), features (n, d), class_probs (n, c), ids and scores (n).

    Height and width are None where boxes are fractions of the image.
    """

    image_id: str
    image_height: int | None
    image_width: int | None
    boxes: "np.ndarray | Tensor"
    features: "np.ndarray | Tensor"
    class_probs: NotRequired["np.ndarray | Tensor"]
    background_index: NotRequired[int]
    object_ids: NotRequired["np.ndarray | Tensor"]
    object_scores: NotRequired["np.ndarray | Tensor"]
    attribute_ids: NotRequired["np.ndarray | Tensor"]
    attribute_scores: NotRequired["np.ndarray | Tensor"]


class QuestionRow(TypedDict):
    """A question about an image; `answers` are those of all annotators, None as the next three without annotations."""

    image_id: str
    image: str
    question_id: int
    question: str
    answers: list[str] | None
    multiple_choice_answer: str | None
    question_type: str | None
    answer_type: str | None
    language: str
    split: str


class MaskingExample(TypedDict):
    """An example of MLMM's pre-training: `itm_label` is 1 if the regions are the text's own."""

    task: str
    text: str
    language: str
    regions: RegionRow
    itm_label: int
    seed: int


class RetrievalExample(TypedDict):
    """A caption with its image, and wrong images and wrong captions."""

    text: str
    regions: RegionRow
    wrong_regions: list[RegionRow]
    wrong_texts: list[str]


class QuestionExample(TypedDict):
    """A question with the regions of its image; `answers` is the score of each answer's number, for training."""

    text: str
    regions: RegionRow
    answers: NotRequired[dict[int, float]]


class AnnotatedObject(TypedDict):
    """A box in an image in COCO's form: `bbox` is x, y, width, height in pixels; ids count from 0."""

    bbox: list[float]
    category_id: int
    attribute_ids: NotRequired[list[int]]


class DetectionRow(TypedDict):
    """An image of a detection file with its objects."""

    image: StoredImage
    image_id: int
    width: int
    height: int
    objects: list[AnnotatedObject]


class DetectionExample(TypedDict):
    """An image to train a detector on; `draw_seed` decides its augmentation."""

    image: "Bytes | str | Image.Image"
    image_id: int
    objects: list[AnnotatedObject]
    draw_seed: NotRequired[int]


class SceneObject(TypedDict):
    """A drawing in a scene; `bbox` is x1, y1, x2, y2, `angle` in degrees counter-clockwise."""

    category_id: int
    bbox: list[float]
    attributes: list[int]
    style: str
    size: str
    flipped: bool
    angle: float


class Scene(TypedDict):
    """A drawn scene, before it has a number and captions."""

    image: "Image.Image"
    seed: int
    background: str
    background_kind: str
    objects: list[SceneObject]


class SceneRow(Scene):
    """A scene of EmojiScenes; `caption_kinds` says which captions each language has."""

    image_id: int
    captions: dict[str, list[str]]
    caption_kinds: list[str]


__all__ = [
    "AnnotatedObject",
    "CaptionRow",
    "DetectionExample",
    "DetectionRow",
    "DrawnText",
    "MaskingExample",
    "PairExample",
    "PairRow",
    "QuestionExample",
    "QuestionRow",
    "RegionRow",
    "RetrievalExample",
    "Scene",
    "SceneObject",
    "SceneRow",
    "StoredImage",
]
