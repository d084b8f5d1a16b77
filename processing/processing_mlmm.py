"""Images, or their regions, and sentences to the tensors that MLMM reads."""

import shutil
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, Self

from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import TextKwargs, Unpack
from transformers.utils import logging

from .array_images import iterate_images
from .checked_processor import CheckedProcessor
from .hub_folder import MODEL_FILES, HubFolder
from .image_decoding import ImageSource, decode_image
from .region_inputs import Regions, list_regions, pad_regions, read_regions_of
from .text_inputs import read_texts

logger = logging.get_logger(__name__)

LANGUAGES = ("zh", "en", "de", "fr", "cs", "ja", "ko")
OWN_FOLDER = "./"


class FindsRegions(Protocol):
    """The part of a `RegionFeatureExtractor` that the processor uses."""

    def extract(
        self, images: Sequence[Image.Image], *, min_boxes: int, max_boxes: int, conf_threshold: float
    ) -> Regions:
        """Return the regions of images."""


class MLMMProcessor(CheckedProcessor):
    """A tokenizer and a region detector in one, with MLMM's rules for the length of a text and the number of regions.

    The detector is a model of its own: it is named here, and opened when the first image comes.

    Args:
        tokenizer: turns texts into `input_ids`, `attention_mask`.
        max_text_length: word pieces of a text without <s> and </s>; the rest is cut. 60 as in UC2 and UNITER.
        region_feature_dim: numbers in a region's feature; None: whatever comes.
        detector: folder or hub id of a `RegionDetector`; what begins with "./" is in the processor's own folder. From
            the hub it comes with the token and the cache that the processor was loaded with; of `revision` and
            `subfolder`, which are the processor's, only one in its own folder.
        min_boxes, max_boxes, conf_threshold: which boxes are regions, as in `RegionFeatureExtractor.extract`.
        detector_hash: identifies the detector whose regions the model was trained on; None: not known.

    Raises:
        ValueError: a text may have no word piece, or the detector leaves the processor's folder.
    """

    # Not keyword-only: transformers restores only what it finds among the positional parameters.
    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_text_length: int = 60,
        region_feature_dim: int | None = None,
        detector: str | None = None,
        min_boxes: int = 10,
        max_boxes: int = 100,
        conf_threshold: float = 0.2,
        detector_hash: str | None = None,
    ) -> None:
        if max_text_length < 1:
            raise ValueError(f"max_text_length is {max_text_length}; a text needs at least one word piece.")
        if detector is not None and str(detector).startswith(OWN_FOLDER) and ".." in Path(detector).parts:
            raise ValueError(f"The detector {str(detector)[:80]!r} is not in the processor's own folder.")
        self.max_text_length = max_text_length
        self.region_feature_dim = region_feature_dim
        self.detector = None if detector is None else str(detector)
        self.min_boxes = min_boxes
        self.max_boxes = max_boxes
        self.conf_threshold = conf_threshold
        self.detector_hash = detector_hash
        self._source: HubFolder | None = None  # where this processor was loaded from
        self._copies_detector = False
        self._extractor: FindsRegions | None = None
        super().__init__(tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike,
        cache_dir: str | PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> Self:
        """Load a saved processor, as `BriVLProcessor` does; its detector is opened later, of the same revision."""
        access = {
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": token,
        }
        name, subfolder = fspath(pretrained_model_name_or_path), kwargs.get("subfolder") or ""
        source = HubFolder(name, subfolder, revision, access).pinned()
        processor = super().from_pretrained(name, revision=source.revision, **access, **kwargs)
        processor._source = source
        return processor

    def save_pretrained(
        self, save_directory: str | PathLike, push_to_hub: bool = False, *, copy_detector: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write the processor; with `copy_detector` the detector too, so that the folder needs no other.

        A detector in the processor's own folder is copied in any case.

        Raises:
            ValueError: there is no detector to copy.
        """
        copy_detector = copy_detector or self._copies_detector
        named, folder = self.detector, Path(save_directory)
        own = named if named is not None and named.startswith(OWN_FOLDER) else None
        try:
            if copy_detector or (own is not None and self._source is not None):
                kept = self.detector = own or f"{OWN_FOLDER}detector"
                source, target = self._detector_folder(named), folder / kept
                if source.resolve() != target.resolve():
                    _copy_model(source, target)
            return super().save_pretrained(save_directory, push_to_hub, **kwargs)
        finally:
            self.detector = named

    def _get_files_timestamps(self, working_dir: str | PathLike) -> dict[str, float]:
        """Return when each file was written; a detector in the folder counts as new, since it was copied before."""
        own = Path(self.detector or "").parts[:1]
        return {name: time for name, time in super()._get_files_timestamps(working_dir).items() if (name,) != own}

    def push_to_hub(self, repo_id: str, *, copy_detector: bool = False, **kwargs: Any) -> Any:
        """Upload the processor as transformers does; with `copy_detector` the detector too, see `save_pretrained`."""
        self._copies_detector = copy_detector
        try:
            return super().push_to_hub(repo_id, **kwargs)
        finally:
            self._copies_detector = False

    def to_dict(self) -> dict[str, Any]:
        """Return what is saved: everything but the opened detector."""
        extractor, self._extractor = self._extractor, None
        try:
            return super().to_dict()
        finally:
            self._extractor = extractor

    @property
    def region_extractor(self) -> FindsRegions:
        """The detector, opened at the first use. It can be set, to one on a GPU for instance.

        Raises:
            ValueError: no detector is named.
            OSError: there is no such detector.
        """
        if self._extractor is None:
            # By name: this file may be remote code, which holds no detector and imports nothing from other folders.
            regions = import_module("wenlan.processing.regions")
            self._extractor = regions.RegionFeatureExtractor.from_pretrained(self._detector_folder(self.detector))
        return self._extractor

    @region_extractor.setter
    def region_extractor(self, extractor: FindsRegions | None) -> None:
        self._extractor = extractor

    @property
    def model_input_names(self) -> list[str]:
        """Names of the model's inputs."""
        return [*self.tokenizer.model_input_names, "region_features", "region_boxes", "region_attention_mask"]

    @property
    def text_kwargs(self) -> TextKwargs:  # type: ignore[override]  # an attribute in transformers; derived here
        """Defaults of the tokenizer call; arguments of a call go before them."""
        specials = self.tokenizer.num_special_tokens_to_add()
        return {
            "padding": True,
            "truncation": True,
            "max_length": self.max_text_length + specials,
            "return_token_type_ids": False,
            "return_tensors": "pt",
        }

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource] | None = None,
        text: str | Sequence[str] | None = None,
        regions: Regions | None = None,
        language: str | Sequence[str] | None = None,
        return_class_probs: bool | None = None,
        **kwargs: Unpack[TextKwargs],
    ) -> BatchFeature:
        """Return the tensors of the images, of the texts, or of both: text i belongs to image i.

        Args:
            images: one or more of what `decode_image` reads, whose regions the detector finds.
            text: one text or several, each a whole sentence: neither pairs nor words.
            regions: in place of images: what `RegionFeatureExtractor.extract` gave, or rows of
                `wenlan.data.read_regions`. Without an image's size its boxes are fractions of it.
            language: of the texts, one of `LANGUAGES` or one a text: only checked, the model sees no language.
            return_class_probs: also the class distributions, the soft labels of masked region classification. None: no.
            **kwargs: `return_tensors` ("pt" or "np"), and what the tokenizer takes.

        Returns:
            input_ids, attention_mask: (B, L) int64, 1 = real token, with text.
            region_features (B, N, d) and region_boxes (B, N, 7) float32, x1, y1, x2, y2, width, height, area relative
            to the image; region_attention_mask (B, N) int64, 1 = real region.
            region_class_probs: (B, N, c) float32, if asked for.

        Raises:
            ImageDecodingError: an image cannot be decoded.
            RegionError: an image has no regions, features of another width or with NaN, or boxes that do not fit.
            ValueError: nothing to process, images and regions at once, a blank text, something that is not a text,
                a pair of texts, words in place of a sentence, an unknown language, or an image without a detector.
            OSError: there is no such detector.
        """
        if images is None and text is None and regions is None:
            raise ValueError("MLMMProcessor needs `images` or `regions`, `text`, or both.")
        if images is not None and regions is not None:
            raise ValueError("Images and regions were both given; pass `images`, or the `regions` found in them.")
        check_languages(language)
        settings = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        data: dict[str, object] = {}
        if text is not None:
            text = read_texts(text, settings["text_kwargs"])
            encoding = self.tokenizer([text] if isinstance(text, str) else text, **settings["text_kwargs"])
            if any(row.overflowing for row in encoding.encodings):
                logger.warning_once(
                    f"A text has more than {self.max_text_length} word pieces and was cut. Shorten it, or raise "
                    "`max_text_length` if the model has the positions for it."
                )
            data |= encoding
        if images is not None:
            decoded = [decode_image(image) for image in iterate_images(images)]
            regions = self.region_extractor.extract(
                decoded, min_boxes=self.min_boxes, max_boxes=self.max_boxes, conf_threshold=self.conf_threshold
            )
        if regions is not None:
            with_probs = bool(return_class_probs)
            read = partial(read_regions_of, feature_dim=self.region_feature_dim, with_class_probs=with_probs)
            rows = [read(row, f"Image {row.get('image_id', at)}") for at, row in enumerate(list_regions(regions))]
            if not rows:
                raise ValueError("There are no images: `images` or `regions` is empty.")
            tensors = pad_regions(rows)
            as_arrays = settings["text_kwargs"]["return_tensors"] == "np"
            data |= {name: tensor.numpy() for name, tensor in tensors.items()} if as_arrays else tensors
        return BatchFeature(data)

    def _detector_folder(self, named: str | None) -> Path:
        """Return the local folder of the detector, from the hub if it must be."""
        if named is None:
            raise ValueError(
                "This processor names no detector, so it cannot look at images: pass `regions`, or set "
                "processor.detector to the folder of one."
            )
        if not named.startswith(OWN_FOLDER):
            return HubFolder(named, access=self._source.access if self._source else {}).fetch()
        if self._source is None:
            raise ValueError(f"The detector {named!r} is in the processor's own folder, and it was not loaded yet.")
        return self._source.inside(named).fetch()


def check_languages(language: str | Sequence[str] | None) -> None:
    """Raise ValueError for a language that MLMM was not made for; None passes."""
    given = [] if language is None else [language] if isinstance(language, str) else language
    if unknown := sorted({str(one) for one in given if one not in LANGUAGES}):
        raise ValueError(f"Unknown language {', '.join(map(repr, unknown))}; MLMM has {', '.join(LANGUAGES)}.")


def _copy_model(source: Path, target: Path) -> None:
    """Copy the configuration and the weights that lie in a folder, and no checkpoint below it."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and path.suffix in MODEL_FILES:
            shutil.copyfile(path, target / path.name)


__all__ = ["LANGUAGES", "FindsRegions", "MLMMProcessor", "check_languages"]
