"""transformers' pipelines for a BriVL: its tokenizer is checked, and zero-shot classification has its own template.

They take the places of transformers' own as soon as wenlan is imported, and are these for any other model.
"""

import logging
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any

from transformers import FeatureExtractionPipeline, ZeroShotImageClassificationPipeline

from ..modeling_brivl.configuration_brivl import BriVLConfig
from ..processing.text_inputs import check_tokenizer, read_texts

logger = logging.getLogger(__name__)


class CheckedFeatureExtractionPipeline(FeatureExtractionPipeline):
    """`pipeline("feature-extraction")`: refuses a BriVL without its vocabulary."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check(self)


class CheckedZeroShotPipeline(ZeroShotImageClassificationPipeline):
    """`pipeline("zero-shot-image-classification")`: a BriVL's own template stands in for the English one.

    Raises:
        ValueError: a BriVL without its vocabulary; when called, a label is blank, or the template has no place for it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check(self)

    def preprocess(  # type: ignore[no-untyped-def, override]  # what one image becomes, as there
        self,
        image: Any,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        **kwargs: Any,
    ):
        """Return the tensors of an image and of the labels in their sentences."""
        config = self.model.config
        if not isinstance(config, BriVLConfig):
            given = {} if hypothesis_template is None else {"hypothesis_template": hypothesis_template}
            return super().preprocess(image, candidate_labels, **given, **kwargs)
        template = config.hypothesis_template if hypothesis_template is None else hypothesis_template
        check_template(template)
        labels = list(candidate_labels or ())
        if not labels:
            raise ValueError("Give at least one label: candidate_labels=['猫', '狗'].")
        read_texts(labels)
        tokens = kwargs.pop("tokenizer_kwargs", None) or {}
        assert self.tokenizer is not None  # `_load_tokenizer`
        limit = min(config.text_config.max_text_length, self.tokenizer.model_max_length)
        tokens = {"padding": True, "truncation": True, "max_length": limit} | tokens
        return super().preprocess(image, labels, template, tokenizer_kwargs=tokens, **kwargs)


def check_template(template: str) -> None:
    """Raise ValueError unless the template has one plain place, {}, for a label."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        parts = []
    places = [part[1:] for part in parts if part[1] is not None]
    if places != [("", "", None)]:
        raise ValueError(
            f"The template {template[:80]!r} must have one {{}} for the label and no other braces, such as "
            "'一张{}的图片'."
        )


def distinct_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels without white space around them, each once; blank ones and repeated ones are logged.

    Raises:
        ValueError: there are not two, so that there is nothing to choose.
    """
    given = [label.strip() for label in labels]
    found = [label for label in dict.fromkeys(given) if label]
    if len(found) < 2:
        raise ValueError(
            "Give two labels or more to choose from, separated by commas or one a line of a file: --labels 猫,狗"
        )
    if len(found) < len(given):
        logger.warning("%d labels are blank or there twice and were left out.", len(given) - len(found))
    read_texts(found)
    return found


def _check(pipe: FeatureExtractionPipeline | ZeroShotImageClassificationPipeline) -> None:
    config = pipe.model.config
    if isinstance(config, BriVLConfig) and pipe.tokenizer is not None:
        source = pipe.tokenizer.name_or_path or config.name_or_path or "The model"
        check_tokenizer(pipe.tokenizer, source, config.text_config.encoder_config.vocab_size)


__all__ = ["CheckedFeatureExtractionPipeline", "CheckedZeroShotPipeline", "check_template", "distinct_labels"]
