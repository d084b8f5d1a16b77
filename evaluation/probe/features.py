"""Features of images: of the image tower of a BriVL at three depths, or of a backbone of timm.

*layer*: `embeddings`, the unit vectors that are compared with texts; `pooled`, the mean of the region states before
the projection; `backbone`, the mean of the backbone's last feature map, which a backbone of timm gives too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from PIL import Image
from timm.models import clean_state_dict
from torch import Tensor
from tqdm.auto import tqdm

from ...data.files.checkpoint import read_checkpoint, unwrap_weights
from ...data.files.hashing import hash_model, hash_weights
from ...data.rows.report import BadRowError, BadRowReport, TooManyBadRowsError
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.open_brivl import open_brivl
from ...processing.image_decoding import ImageDecodingError, decode_image
from .image_sets import LabelledImages

LAYERS = ("embeddings", "pooled", "backbone")
TIMM = "timm:"
RANDOM = "random"
MAX_BAD_FRACTION = 0.01


class ImageTower(Protocol):
    """Turns decoded images into features by layer, each (b, d); `layers` are those that it has of the wanted ones.

    `as_original` is an argument of `decode_image`, and `model_id` identifies weights and configuration.
    """

    layers: tuple[str, ...]
    as_original: bool
    model_id: str

    def __call__(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """Return the features."""

    def hash_now(self) -> str:
        """Return `model_id` of the weights as they are now."""


@dataclass(frozen=True)
class Features:
    """Features of the images that could be decoded.

    Attributes:
        layers: (n, d) float64 by layer.
        labels: the classes of the n images.
        report: what was left out.
    """

    layers: dict[str, np.ndarray]
    labels: list[str]
    report: BadRowReport


class BriVLTower:
    """The image tower of a BriVL; it looks at its grid.

    Args:
        name: folder or hub id.
        layers: wanted.
        random_seed: start the weights anew from this seed: a control.
        device: of the model.

    Raises:
        MissingModelError, ValueError: as `open_brivl`.
    """

    def __init__(self, name: str, layers: Sequence[str], *, random_seed: int | None, device: str) -> None:
        model, processor = open_brivl(name)
        if random_seed is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(random_seed)
                model = BriVLModel(model.config).eval()
        module: torch.nn.Module = model  # whose `to` has types
        module.requires_grad_(False).to(device)
        self._model = model
        self._processor = processor.image_processor
        self.layers = tuple(layer for layer in LAYERS if layer in layers)
        self.as_original, self.model_id = bool(self._processor.as_original), self.hash_now()

    @torch.inference_mode()
    def __call__(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """Return the wanted features of a batch."""
        pixel_values = self._processor(images, return_tensors="pt")["pixel_values"].to(self._model.device)
        tower = self._model.vision_model
        feature_map = tower.backbone.forward_features(pixel_values)
        output = tower(feature_map=feature_map)
        found: dict[str, Tensor] = {
            "embeddings": torch.nn.functional.normalize(output.pooler_output, dim=-1),
            "pooled": output.last_hidden_state.mean(dim=1),
            "backbone": feature_map.mean(dim=(2, 3)),
        }
        return {layer: found[layer] for layer in self.layers}

    def hash_now(self) -> str:
        """Return 16 hexadecimal digits of weights and configuration."""
        return hash_model(self._model)


class TimmTower:
    """A backbone of timm with its own preprocessing.

    Args:
        name: `timm:NAME` with the weights that timm has for it, fetched where they are not on this machine;
            `timm:NAME=FILE` with weights of one's own, `timm:NAME:random` without.
        random_seed: start the weights anew from this seed: a control.
        device: of the model.

    Raises:
        ValueError: timm has no such backbone or no weights for it, or a file does not fit.
        FileNotFoundError: there is no such file, or the weights are not here and cannot be fetched.
    """

    def __init__(self, name: str, *, random_seed: int | None, device: str) -> None:
        name, _, file = name.removeprefix(TIMM).partition("=")
        name, _, start = name.partition(":")
        if not timm.is_model(name) or start not in ("", RANDOM) or (start and file):
            raise ValueError(
                f"timm has no backbone {name!r}{f' with {start!r}' * bool(start)}; give {TIMM}NAME with one of "
                f"timm.list_models(), {TIMM}NAME=FILE or {TIMM}NAME:{RANDOM}."
            )
        if file and not Path(file).is_file():
            raise FileNotFoundError(f"There is no file {file} with weights of {name}.")
        is_random = random_seed is not None or start == RANDOM
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed or 0)
            self._model = _create(name, file, is_random).eval().requires_grad_(False).to(device)
        self._device, self._name = device, name
        settings = timm.data.resolve_data_config({}, model=self._model)
        self._transform: Any = timm.data.create_transform(**settings, is_training=False)
        self.layers: tuple[str, ...] = ("backbone",)
        self.as_original, self.model_id = False, self.hash_now()

    @torch.inference_mode()
    def __call__(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """Return what timm gives before its classifier."""
        return {"backbone": self._model(torch.stack([self._transform(image) for image in images]).to(self._device))}

    def hash_now(self) -> str:
        """Return 16 hexadecimal digits of name and weights."""
        return hash_weights(self._name, self._model.state_dict())


def open_tower(name: str, layers: Sequence[str], *, random_seed: int | None = None, device: str) -> ImageTower:
    """Return the tower of a BriVL, or of `timm:NAME`; the arguments are theirs."""
    if name.startswith(TIMM):
        return TimmTower(name, random_seed=random_seed, device=device)
    return BriVLTower(name, layers, random_seed=random_seed, device=device)


def extract_features(
    tower: ImageTower, images: LabelledImages, *, batch_size: int = 32, progress: bool = False
) -> Features:
    """Return the features of all images that can be decoded; the others are counted.

    Raises:
        TooManyBadRowsError: more than 1 % of the images cannot be decoded.
        ValueError: features are not finite.
    """
    report = BadRowReport(images.source)

    def decode(place: int | str, row: tuple[str, Any]) -> tuple[str, Image.Image]:
        try:
            return row[0], decode_image(row[1], as_original=tower.as_original)
        except ImageDecodingError as error:
            raise BadRowError.of_image(error) from error

    rows = enumerate(zip(images.labels, images.open(), strict=True))
    good: Iterator[tuple[str, Image.Image]] = report.check_rows(rows, decode)
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in tower.layers}
    labels = list[str]()
    with tqdm(desc=f"features of {images.source}", total=len(images.labels), disable=not progress) as bar:
        while batch := list(islice(good, batch_size)):
            labels += [label for label, _ in batch]
            for layer, values in tower([image for _, image in batch]).items():
                if not values.isfinite().all():
                    raise ValueError(f"The features ({layer}) are not finite: the weights are broken.")
                found[layer].append(values.double().cpu().numpy())
            bar.update(len(batch))
    if report.bad_fraction > MAX_BAD_FRACTION or not labels:
        raise TooManyBadRowsError(f"More than {MAX_BAD_FRACTION:.0%} of the images cannot be decoded.\n{report}")
    report.log()
    if tower.hash_now() != tower.model_id:
        raise RuntimeError("The weights of the tower changed while its features were taken.")
    return Features({layer: np.concatenate(parts) for layer, parts in found.items()}, labels, report)


def _create(name: str, file: str, is_random: bool) -> torch.nn.Module:
    """Return a backbone with its own weights, those of a file, or random ones of the seed of PyTorch."""
    if is_random:
        return timm.create_model(name, pretrained=False, num_classes=0)
    overlay: dict[str, Any] = {}
    if file:
        weights = clean_state_dict(dict(unwrap_weights(read_checkpoint(Path(file)))))
        if not weights:  # timm would take its own
            raise ValueError(f"{file} holds no weights; give those of {name}.")
        overlay = {"pretrained_cfg_overlay": {"state_dict": weights}}
    seed = torch.get_rng_state()
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0, **overlay)
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, ConnectionError) as error:
        raise FileNotFoundError(
            f"The weights of {name} are not on this machine and cannot be fetched ({type(error).__name__}). Fetch them "
            f"where there is a network, or give {TIMM}{name}=FILE or {TIMM}{name}:{RANDOM}."
        ) from error
    except Exception as error:  # timm raises nearly anything over weights of something else
        if not file and not isinstance(error, RuntimeError):
            raise
        raise ValueError(f"{TIMM}{name}: {' '.join(str(error).split())[:300]}") from error
    if file:
        torch.set_rng_state(seed)
        _refuse_untouched(model, _create(name, "", True), file)
    return model


def _refuse_untouched(model: torch.nn.Module, untrained: torch.nn.Module, file: str) -> None:
    """Raise ValueError if weights are those of an untrained model: timm passes over what a file does not have."""
    trained = {key: weight for key, weight in model.named_parameters() if weight.dim() > 1}  # others begin alike
    left = [key for key, weight in untrained.named_parameters() if key in trained and weight.equal(trained[key])]
    if left:
        raise ValueError(
            f"{file} lacks {len(left)} of {len(trained)} weights, such as {left[0]}; give one of this backbone."
        )


__all__ = ["LAYERS", "TIMM", "Features", "ImageTower", "extract_features", "open_tower"]
