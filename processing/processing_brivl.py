"""Images and sentences to the tensors that BriVL reads."""

from collections.abc import Sequence

from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.image_utils import ImageInput
from transformers.processing_utils import TextKwargs, Unpack
from transformers.utils import logging

from .checked_processor import CheckedProcessor
from .image_processing_brivl import BoxesInput, BriVLImageProcessor, BriVLImageProcessorKwargs
from .text_inputs import read_texts

logger = logging.get_logger(__name__)


class CallKwargs(TextKwargs, total=False):
    """Options of a call: of the tokenizer, and of the image processor as `images_kwargs`."""

    images_kwargs: BriVLImageProcessorKwargs


class BriVLProcessor(CheckedProcessor):
    """A `BriVLImageProcessor` and a tokenizer in one, with BriVL's rules for the length of a text.

    Args:
        image_processor: turns images and boxes into `pixel_values`, `boxes`, `box_mask`.
        tokenizer: turns texts into `input_ids`, `attention_mask`.
        max_text_length: tokens of a text including [CLS] and [SEP]; the rest is cut. 80 as in BriVL 1.0.
        pad_to_max_length: pad every text to `max_text_length` instead of to the longest of its batch. True for
            converted checkpoints, whose BERT sees the padding: the model pads texts itself, its ONNX file does not.
    """

    # Not keyword-only: transformers restores only what it finds among the positional parameters.
    def __init__(
        self,
        image_processor: BriVLImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        max_text_length: int = 80,
        pad_to_max_length: bool = False,
    ) -> None:
        if max_text_length < 3:
            raise ValueError(f"max_text_length is {max_text_length}; it must be at least 3: [CLS], a token, [SEP].")
        self.max_text_length = max_text_length
        self.pad_to_max_length = pad_to_max_length
        super().__init__(image_processor, tokenizer)

    @property
    def unused_input_names(self) -> list[str]:
        """Inputs that the tokenizer names and this processor drops."""
        return ["token_type_ids"]

    @property
    def text_kwargs(self) -> TextKwargs:  # type: ignore[override]  # an attribute in transformers; derived here
        """Defaults of the tokenizer call; arguments of a call go before them."""
        return {
            "padding": "max_length" if self.pad_to_max_length else True,
            "truncation": True,
            "max_length": self.max_text_length,
            "return_token_type_ids": False,
        }

    def __call__(
        self,
        images: ImageInput | None = None,
        text: str | Sequence[str] | None = None,
        boxes: BoxesInput | None = None,
        **kwargs: Unpack[CallKwargs],
    ) -> BatchFeature:
        """Return the tensors of the images, of the texts, or of both. The two need not be equally many.

        Args:
            images: as in `BriVLImageProcessor.preprocess`.
            text: one text or several, each a whole sentence: neither pairs nor words.
            boxes: one (n, 4) array an image, as in `BriVLImageProcessor.preprocess`.
            **kwargs: `return_tensors`, and what the image processor or the tokenizer takes.

        Returns:
            pixel_values: (B, 3, S, S) float32, with images.
            boxes, box_mask: (B, R, 4) float32 and (B, R) int64, 1 = real region, with boxes.
            input_ids, attention_mask: (B, L) int64, 1 = real token, with text.

        Raises:
            ImageDecodingError: an image cannot be decoded.
            ValueError: nothing to process, a blank text, something that is not a text, a pair of texts, words in place
                of a sentence, or boxes that do not fit.
        """
        if images is None and text is None:
            raise ValueError("BriVLProcessor needs `images`, `text` or both.")
        if boxes is not None and images is None:
            raise ValueError("Boxes were given without images; pass the images they belong to.")
        settings = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        if text is not None:
            text = read_texts(text, settings["text_kwargs"])
        data: dict[str, object] = {}
        if images is not None:
            data |= self.image_processor(images, boxes=boxes, **settings["images_kwargs"])
        if text is not None:
            encoding = self.tokenizer(text, **settings["text_kwargs"])
            if any(row.overflowing for row in encoding.encodings):
                logger.warning_once(
                    f"A text has more than {settings['text_kwargs']['max_length']} tokens and was cut. "
                    "Raise `max_text_length` if the model has the positions for it."
                )
            data |= encoding
        return BatchFeature(data)


__all__ = ["BriVLProcessor"]
