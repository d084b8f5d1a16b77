"""A processor that is loaded with a check, and saved the same whatever came before: of BriVL and of MLMM."""

from os import PathLike
from pathlib import Path
from typing import Any, Self

from transformers.processing_utils import ProcessorMixin

from .text_inputs import check_tokenizer, check_vocabulary_file, reset_tokenizer, saved_vocab_size


class CheckedProcessor(ProcessorMixin):
    """A processor with a `tokenizer` that belongs to the model beside it."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, *args: Any, **kwargs: Any) -> Self:
        """Load a saved processor; refuse one without its tokenizer's files, or with another model's.

        Raises:
            ValueError: the vocabulary is missing, empty, or that of another model.
        """
        folder = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        check_vocabulary_file(folder)
        processor = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        check_tokenizer(processor.tokenizer, folder, saved_vocab_size(folder))
        return processor

    def save_pretrained(self, save_directory: str | PathLike, *args: Any, **kwargs: Any) -> list[str]:
        """Write the processor, the same whatever it was called with."""
        reset_tokenizer(self.tokenizer)
        return super().save_pretrained(save_directory, *args, **kwargs)


__all__ = ["CheckedProcessor"]
