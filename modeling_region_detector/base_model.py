"""The base of all models: how a checkpoint opens, and which keywords a forward pass takes.

This file is the same in each folder of models, which the Hub ships alone.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from os import PathLike
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import TransformersKwargs

KNOWN_KEYWORDS = (*TransformersKwargs.__annotations__, "return_dict", "use_cache")


class WenlanPreTrainedModel(PreTrainedModel):
    """A model that opens no checkpoint which lacks weights, apart from those of a head that starts new."""

    _new_heads: tuple[str, ...] = ()  # prefixes of the weights that a checkpoint may lack

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike | None, *args: Any, **kwargs: Any) -> Self:
        """Load a checkpoint as transformers does, but refuse one that is damaged or incomplete.

        A head that the checkpoint lacks, and with `ignore_mismatched_sizes=True` what has another size there, starts
        new, and transformers names it. Without a checkpoint (None and a `state_dict`) so does all that is not given.
        With `output_loading_info=True` nothing that is missing is refused: the caller gets `missing_keys` to judge.

        Raises:
            OSError: for a truncated or damaged weight file.
            ValueError: when other weights are missing, which would be random; the message names them.
        """
        with_info = kwargs.pop("output_loading_info", False)
        try:
            loaded: Any = super().from_pretrained(  # a pair, because of output_loading_info
                pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
            )
        except SafetensorError as error:
            raise OSError(
                f"The weights in {pretrained_model_name_or_path} are damaged ({error}): "
                "the file was probably cut while it was saved or copied. Fetch it again."
            ) from error
        model, info = loaded
        missing = sorted(key for key in info["missing_keys"] if not key.startswith(cls._new_heads))
        if missing and not with_info and pretrained_model_name_or_path is not None:
            names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise ValueError(
                f"{pretrained_model_name_or_path} lacks {len(missing)} weights of {cls.__name__}: {names}. "
                "It holds another model, or config.json does not belong to it."
            )
        model.freeze()  # loading recreates parameters, and `requires_grad` is not kept
        return loaded if with_info else model

    def freeze(self) -> None:
        """Set `requires_grad` as the configuration says."""

    def _foreign_parts(self) -> Iterator[tuple[nn.Module, Callable[[], nn.Module]]]:
        """Yield each part of another library, which `_init_weights` does not know, with what builds it new."""
        yield from ()

    @torch.no_grad()
    def _initialize_missing_keys(self, is_quantized: bool) -> None:
        """Initialize what was not loaded; foreign parts as their own library does."""
        for part, build in self._foreign_parts():
            wanting = {name: x for name, x in _tensors(part) if not getattr(x, "_is_hf_initialized", False)}
            fresh = dict(_tensors(build())) if wanting else {}
            for name, tensor in wanting.items():
                tensor.copy_(fresh[name])
                tensor._is_hf_initialized = True  # type: ignore[attr-defined]
        super()._initialize_missing_keys(is_quantized)


def transformers_keywords(given: Mapping[str, Any], ignored: Collection[str] = ()) -> dict[str, Any]:
    """Return those of the keywords that any model of transformers takes, such as `output_attentions`.

    transformers' own models take whatever they are given, so that a misspelt name has no effect and no message.

    Args:
        given: keywords beside the arguments of a forward pass.
        ignored: further names that may be given, such as the images of a batch where only its texts are embedded.

    Raises:
        TypeError: for any other keyword; the message names them.
    """
    unknown = [name for name in given if name not in KNOWN_KEYWORDS and name not in ignored]
    if unknown:
        names = ", ".join(repr(name[:40]) for name in sorted(unknown)[:5])
        raise TypeError(f"unexpected keyword arguments {names}: no input of this model, and no keyword of transformers")
    return {name: value for name, value in given.items() if name in KNOWN_KEYWORDS}


def _tensors(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(part.named_parameters(), part.named_buffers())


__all__ = ["WenlanPreTrainedModel", "transformers_keywords"]
