"""Features that the authors of BriVL 1.0 published, compared with those of a converted folder.

Their repository holds three pairs, each an image, its caption and 100 boxes, and what their own script computed of them
with the released weights. There is no other number that a conversion of these weights can be checked against.
"""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor

from ..data.files.bounded import read_bounded, read_bounded_text
from ..data.files.safe_npz import read_npy
from ..modeling_brivl.modeling_brivl import BriVLModel
from ..processing.image_decoding import decode_image
from ..processing.image_processing_brivl import BriVLImageProcessorKwargs
from ..processing.processing_brivl import BriVLProcessor
from .folder import name_file

FOLDERS = ("BriVL-code-inference", "BriVL-1.0/BriVL-code-inference", ".")  # its code, now and earlier
PAIRS, IMAGES, FEATURES = "data/jsonls/example.jsonl", "data/imgs", "logs/saves/xyb"
CAPTION = "sur_text"  # of the captions of an image, the one that the script embeds
MAX_BYTES = 64 << 20
LEAST_COSINE = 0.9999


@dataclass(frozen=True)
class OriginalExamples:
    """The n examples of the authors' repository, in the order of their features.

    Attributes:
        images: the files.
        texts: the captions.
        boxes: (100, 4) x1, y1, x2, y2 in pixels of each image; the model looks at the first of them.
        image_features, text_features: (n, d) what the original computed.
    """

    images: list[Path]
    texts: list[str]
    boxes: list[np.ndarray]
    image_features: Tensor
    text_features: Tensor


def read_examples(repository: Path) -> OriginalExamples:
    """Return the examples in a clone of the authors' repository.

    Raises:
        FileNotFoundError: it is no such clone, or a file of it is missing.
        ValueError: a file of it is not what the authors published.
    """
    folder = next((repository / name for name in FOLDERS if (repository / name / PAIRS).is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"{repository} has no {FOLDERS[0]}/{PAIRS}: --check-examples needs a clone of github.com/BAAI-WuDao/BriVL."
        )
    try:
        rows = [json.loads(line) for line in read_bounded_text(folder / PAIRS).split("\n") if line.strip()]
        # The names lead from the folder of the script; only their last part is taken, as a file of the images.
        images = [folder / IMAGES / PurePosixPath(row["image_id"]).name for row in rows]
        texts = [dict(row["sentences"])[CAPTION] for row in rows]
        boxes = [np.asarray(row["bbox"], dtype=np.float32).reshape(-1, 4) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / PAIRS} is not as the authors published it ({type(error).__name__}).") from error
    features = [folder / FEATURES / name for name in ("np_img.npy", "np_text.npy")]
    if missing := [file for file in (*images, *features) if not file.is_file()]:
        raise FileNotFoundError(f"{missing[0]} is missing: clone the repository again.")
    return OriginalExamples(images, texts, boxes, *(_read_features(file, len(rows)) for file in features))


def _read_features(path: Path, count: int) -> Tensor:
    content = read_bounded(path, max_bytes=MAX_BYTES)
    with name_file(path):
        features = read_npy(content, path.name)
        if features.ndim != 2 or features.dtype.kind != "f" or len(features) != count or not count:
            raise ValueError(f"it has {features.dtype} of shape {features.shape}, not {count} rows of features.")
    return torch.from_numpy(features)


@torch.inference_mode()
def smallest_cosines(
    model: BriVLModel, processor: BriVLProcessor, examples: OriginalExamples, *, antialias: bool
) -> tuple[float, float]:
    """Return the smallest cosine of an image's embedding with its original feature, and that of the texts."""
    images = [decode_image(image, as_original=True) for image in examples.images]
    settings = BriVLImageProcessorKwargs(antialias=antialias)
    inputs = processor(images, examples.texts, examples.boxes, images_kwargs=settings, return_tensors="pt")
    output = model(**inputs)
    pairs = (output.image_embeds, examples.image_features), (output.text_embeds, examples.text_features)
    first, second = (F.cosine_similarity(ours.double(), theirs.double(), dim=-1).min().item() for ours, theirs in pairs)
    return first, second


def check_examples(folder: Path, examples: OriginalExamples) -> None:
    """Print how well a folder computes the original's features, with both settings of the resizing.

    Raises:
        ValueError: it computes other features, or those of another width.
    """
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    width, expected = model.config.projection_dim, examples.image_features.shape[1]
    if width != expected or width != examples.text_features.shape[1]:
        raise ValueError(f"The examples have features of {expected} numbers, the model in {folder} gives {width}.")
    print(f"The authors' {len(examples.images)} examples, smallest cosine with their features:")
    results = {}
    for antialias in (False, True):
        images, texts = smallest_cosines(model, processor, examples, antialias=antialias)
        results[antialias] = images > LEAST_COSINE, texts > LEAST_COSINE
        verdict = "pass" if all(results[antialias]) else "fail"
        print(f"  antialias {str(antialias).lower():5}: images {images:.6f}, texts {texts:.6f}: {verdict}")
    ours = processor.image_processor.antialias
    if all(results[ours]):
        print(f"Pass: {folder} computes what the authors computed.")
    elif all(results[not ours]):
        print(
            f"Pass with antialias {str(not ours).lower()}, but {folder} is set to {str(ours).lower()}: "
            "change it in its processor_config.json."
        )
    else:
        raise ValueError(
            f"{folder} does not compute what the authors computed: a cosine is not above {LEAST_COSINE}. "
            f"{_explain(*map(any, zip(*results.values(), strict=True)))} The folder was kept."
        )


def _explain(images_agree: bool, texts_agree: bool) -> str:
    if texts_agree:
        return "The texts agree, the images do not: check --variant, and that the images of the clone are whole."
    if images_agree:
        return "The images agree, the texts do not: check --text-config and --max-text-length."
    return "Neither images nor texts agree: these are not the weights of BriVL-1.0-5500w."


__all__ = ["OriginalExamples", "check_examples", "read_examples", "smallest_cosines"]
