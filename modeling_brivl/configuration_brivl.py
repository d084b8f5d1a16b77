"""Configurations of BriVL: a vision tower, a text tower, and the contrastive objective that joins them.

Every published variant is a value of these classes (`BriVLConfig.from_variant`), never a subclass. The defaults are
the released grid checkpoint of the Nature Communications paper ("nmi").
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

CHINESE_BERT_VOCAB_SIZE = 21128
MAX_SIZE = 2**24  # of any number of a configuration: a file from anywhere may ask for 10**12 of something
MAX_LAYERS, MAX_IMAGE_SIZE, MAX_GRID_CELLS = 1000, 8192, 10_000

# A configuration may come from anywhere, and timm takes a file, a folder or a repository as a model's name, and
# keywords that open others. So it says no more than the name of an architecture and what an EfficientNet is made of.
TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
BACKBONE_KWARGS = {
    **dict.fromkeys(("channel_multiplier", "depth_multiplier", "bn_eps", "bn_momentum"), float | int),
    **dict.fromkeys(("drop_rate", "drop_path_rate"), float | int),
    **dict.fromkeys(("channel_divisor", "group_size", "output_stride", "stem_size"), int),
    **dict.fromkeys(("pad_type", "act_layer"), str),
    "fix_stem": bool,
}

# What differs from the defaults. "1.0" is the released configuration of BAAI-WuDao/BriVL. Of "2.0" only the RoBERTa
# large encoder and the grid of 6x6 cells + whole image are published; backbone, image size and queue are unconfirmed.
BRIVL_VARIANTS: dict[str, dict[str, Any]] = {
    "nmi": {},
    "1.0": {"vision_config": {"image_size": 380, "grid_scales": [1]}},
    "2.0": {
        "vision_config": {
            "backbone": "tf_efficientnet_b7.ns_jft_in1k",
            "image_size": 600,
            "hidden_size": 2560,
            "projection_dim": 2560,
        },
        "text_config": {
            "encoder_config": {
                "model_type": "bert",
                "vocab_size": CHINESE_BERT_VOCAB_SIZE,
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
            },
            "projection_dim": 2560,
        },
        "queue_size": 13440,
    },
}


def _require(config: PreTrainedConfig, condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"{type(config).__name__}: {message}")


def _check_limits(config: PreTrainedConfig, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        limit = MAX_LAYERS if name == "num_hidden_layers" else MAX_SIZE
        if isinstance(value, int | float) and not abs(value) < limit:
            _require(config, False, f"{name} is {str(value)[:20]}, which is no size that a model can have.")
        names = value.values() if isinstance(value, dict) else [value]
        if name.endswith("_implementation") and not all(str(one).isidentifier() for one in names):  # else foreign code
            _require(config, False, f"{name} is {str(value)[:40]!r}; give sdpa, eager or another known one.")


class _TowerConfig(PreTrainedConfig):
    """Fields that both towers share: the transformer over regions or tokens, and the projection."""

    projection_dim: int = 2048
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 2048
    hidden_dropout_prob: float | int = 0.1
    layer_norm_eps: float | int = 1e-5
    initializer_range: float | int = 0.02
    trainable_backbone: list[str] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        _check_limits(self, vars(self) | kwargs)
        super().__post_init__(**kwargs)

    if TYPE_CHECKING:  # width of the transformer over regions or tokens

        @property
        def hidden_size(self) -> int: ...

    def validate_tower(self) -> None:
        """Raise ValueError for sizes that cannot work."""
        width, heads, dropout = self.hidden_size, self.num_attention_heads, self.hidden_dropout_prob
        _require(self, width % heads == 0, f"the width {width} is not a multiple of num_attention_heads={heads}.")
        _require(self, self.projection_dim > 0, f"projection_dim must be positive, got {self.projection_dim}.")
        _require(self, 0 <= dropout < 1, f"hidden_dropout_prob must be in [0, 1), got {dropout}.")


@strict
class BriVLVisionConfig(_TowerConfig):
    r"""The image tower: CNN backbone, region pooling, transformer over regions, projection.

    Args:
        backbone: timm model name; its last feature map (`forward_features`) is pooled into regions.
        backbone_kwargs: further keyword arguments of `timm.create_model`, those of `BACKBONE_KWARGS`.
        image_size: side of the square input in pixels.
        hidden_size: width of the region vectors after the region projection.
        grid_scales: the regions used when no boxes are given: a grid of s x s cells for each s in this order.
            `[6, 1]` is the multi-scale patch pooling of the released grid checkpoint, `[1]` the whole image.
        max_regions: number of box rows of a batch that comes with detector boxes (36 boxes + the whole image).
        region_samples: bilinear samples per region along each axis.
        stretch_boxes: True keeps the original's misaligned sampling (boxes are stretched by W / (W - 1) about the
            origin), with which the released weights were trained; False samples where the box is.
        projection_dim: size of the embedding; equal in both towers.
        trainable_backbone: dotted parts of parameter names that train, e.g. `["blocks.5", "blocks.6"]`; None trains
            all of the backbone, `[]` nothing. The original trains `["blocks.3", "blocks.4", "blocks.5", "blocks.6"]`.
        train_batch_norm: False keeps the batch norms of the backbone in evaluation mode while training.
        train_frozen_batch_norm: the same for batch norms whose weights `trainable_backbone` freezes. The original
            trains with True: it updates the running statistics of frozen batch norms too.

    Source: configuration files of BAAI-WuDao/BriVL and the BriVL-NMI code.
    """

    model_type = "brivl_vision_model"
    base_config_key = "vision_config"

    backbone: str = "tf_efficientnet_b5.ns_jft_in1k"
    backbone_kwargs: dict | None = None
    image_size: int = 456
    hidden_size: int = 2048
    grid_scales: list[int] | tuple[int, ...] = (6, 1)
    max_regions: int = 37
    region_samples: int = 4
    stretch_boxes: bool = True
    train_batch_norm: bool = True
    train_frozen_batch_norm: bool = False

    def validate_backbone(self) -> None:
        """Raise ValueError for a backbone that is no architecture of timm, or keywords that are none of one."""
        known, given = ", ".join(BACKBONE_KWARGS), self.backbone[:80]
        is_name = TIMM_NAME.fullmatch(self.backbone) is not None
        _require(self, is_name, f"backbone is {given!r}; give the name of a timm model, such as tf_efficientnet_lite0.")
        for name, value in (self.backbone_kwargs or {}).items():
            _require(self, name in BACKBONE_KWARGS, f"backbone_kwargs may hold {known}, not {str(name)[:40]!r}.")
            is_right = value is None or (isinstance(value, BACKBONE_KWARGS[name]) and str(value).isascii())
            _require(self, is_right, f"backbone_kwargs: {name} is {str(value)[:40]!r}.")
        _check_limits(self, self.backbone_kwargs or {})

    def validate_regions(self) -> None:
        """Raise ValueError for an empty grid, and sizes below one or beyond what can be computed."""
        scales, smallest = list(self.grid_scales), min(self.grid_scales, default=0)
        _require(self, smallest >= 1, f"grid_scales must be positive integers such as [6, 1], got {str(scales)[:80]}.")
        cells = sum(scale**2 for scale in scales)
        limits = {"image_size": MAX_IMAGE_SIZE, "max_regions": MAX_GRID_CELLS, "region_samples": MAX_GRID_CELLS}
        _require(self, cells <= MAX_GRID_CELLS, f"grid_scales has {cells} cells; at most {MAX_GRID_CELLS} can be.")
        for name, limit in limits.items():
            value = getattr(self, name)
            _require(self, 1 <= value <= limit, f"{name} must be at least 1 and at most {limit}, got {value}.")


CODE_OR_FOLDER = {"auto_map", "_name_or_path"}  # of an encoder's configuration: nothing is opened from there


def _encoder_config_class(model_type: object) -> type[PreTrainedConfig] | None:
    """Return the configuration of a text encoder, of those that hold no other model, which might be any."""
    # Here, not above: while transformers loads its Auto classes it already needs this file.
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    )

    if not isinstance(model_type, str) or model_type not in {
        *MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    }:
        return None
    found = CONFIG_MAPPING[model_type]
    return None if found.sub_configs else found


@strict
class BriVLTextConfig(_TowerConfig):
    r"""The text tower: any transformers text encoder, a transformer over its tokens, projection.

    Args:
        encoder_config: configuration of the text encoder (`model_type` names it; BERT when absent). The default has the
            sizes of hfl/chinese-roberta-wwm-ext.
        max_text_length: tokens per text, specials included; longer input is cut.
        attend_padding: True gives the encoder no attention mask, as the original does, so that an embedding depends
            on the padded length; the tower then pads every text to `max_text_length` (faithful mode, for converted
            checkpoints).
        projection_dim: size of the embedding; equal in both towers.
        trainable_backbone: as in `BriVLVisionConfig`, e.g. `["layer.8", "layer.9", "layer.10", "layer.11"]`.

    Source: configuration files of BAAI-WuDao/BriVL and the BriVL-NMI code.
    """

    model_type = "brivl_text_model"
    base_config_key = "text_config"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(PreTrainedConfig)}

    if TYPE_CHECKING:  # what may be given as a dictionary, as config.json has it, is read as a configuration
        encoder_config: PreTrainedConfig
    else:
        encoder_config: dict | PreTrainedConfig | None = None
    max_text_length: int = 80
    attend_padding: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.encoder_config, PreTrainedConfig):
            values = dict(self.encoder_config or {"vocab_size": CHINESE_BERT_VOCAB_SIZE})
            model_type = values.pop("model_type", "bert")
            config_class = _encoder_config_class(model_type)
            _require(
                self, config_class is not None, f"encoder_config: {str(model_type)[:40]!r} is no text encoder we know."
            )
            _check_limits(self, values)
            self.encoder_config = config_class(**{key: values[key] for key in values.keys() - CODE_OR_FOLDER})
        _check_limits(self, vars(self.encoder_config))
        for name in kwargs.keys() & {"hidden_size", "max_position_embeddings"}:
            same = kwargs.pop(name) == getattr(self, name)
            _require(self, same, f"{name} is that of the text encoder; give it in encoder_config.")
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the text encoder, and of the transformer over its tokens."""
        return self.encoder_config.hidden_size

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the text encoder."""
        return self.encoder_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self.encoder_config.vocab_size = value

    @property
    def max_position_embeddings(self) -> int:
        """Positions of the text encoder; a text is cut to `max_text_length`."""
        return self.encoder_config.max_position_embeddings

    @property
    def pad_token_id(self) -> int | None:
        """Token that fills a text up to the length of others."""
        return getattr(self.encoder_config, "pad_token_id", None)

    @pad_token_id.setter
    def pad_token_id(self, value: int | None) -> None:
        self.encoder_config.pad_token_id = value

    def validate_text_length(self) -> None:
        """Raise ValueError for a length that the encoder has no positions for."""
        length = self.max_text_length
        positions = getattr(self, "max_position_embeddings", length)
        allowed = f"2..{positions} (the positions of the text encoder)"
        _require(self, 2 <= length <= positions, f"max_text_length must be in {allowed}, got {length}.")


@strict
class BriVLConfig(PreTrainedConfig):
    r"""BriVL: two towers, their similarity, and the momentum-queue objective of pre-training.

    Args:
        text_config, vision_config: the towers.
        temperature: divisor of the cosine similarities; fixed, not learnt.
        queue_size: number of negative pairs kept for pre-training.
        momentum: m of the momentum towers, `key = m * key + (1 - m) * query`.
        multi_positive_top_k: queue entries that are among the k nearest of the key in both queues count as positives
            too; 0 turns this off, as the released code does.
        in_batch_negatives: True also contrasts with the keys of the other pairs of the batch. The released code uses
            the queue alone, which is unstable unless keys change slowly (long training, momentum near 1).
        group_positives: True counts keys of the own group (`group_ids`, e.g. pairs with the same caption) as positives;
            by default they are neither positive nor negative.
        share_frozen_trunk: True holds the frozen lower part of each backbone once and runs it once a step for query and
            momentum tower: the same numbers, less time and memory. False gives the momentum towers a copy of their own.
        contrastive_chunk_size: pairs that go through the towers at a time; the loss still compares the whole batch.
            Activations are kept for one chunk only and computed again in the backward pass (GradCache). 0: all at once.
        hypothesis_template: sentence around a label in zero-shot classification, where none is given; {} is the label.
        late_interaction: True adds scores of regions with the tokens of texts, before their pooling; and to the loss
            their InfoNCE within the batch of a process, without a queue. See `late_interaction_scores`.
        late_dim, late_weight, late_temperature: size of the tokens, factor of this loss, divisor of these scores.

    Example:

    ```python
    >>> from wenlan import BriVLConfig
    >>> BriVLConfig.from_variant("2.0").vision_config.image_size
    600

    ```
    """

    model_type = "brivl"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(BriVLTextConfig),
        "vision_config": SubConfigSpec(BriVLVisionConfig),
    }
    keys_to_ignore_at_inference = [
        *("logits_per_image", "logits_per_text", "image_keys", "text_keys", "text_model_output", "vision_model_output"),
        *("image_tokens", "image_token_mask", "text_tokens", "text_token_mask", "late_scores"),
    ]

    if TYPE_CHECKING:  # as encoder_config above
        text_config: BriVLTextConfig
        vision_config: BriVLVisionConfig
    else:
        text_config: dict | PreTrainedConfig | None = None
        vision_config: dict | PreTrainedConfig | None = None
    temperature: float | int = 0.07
    queue_size: int = 9600
    momentum: float | int = 0.99
    multi_positive_top_k: int = 0
    in_batch_negatives: bool = False
    group_positives: bool = False
    share_frozen_trunk: bool = True
    contrastive_chunk_size: int = 0
    hypothesis_template: str = "{}"
    late_interaction: bool = False
    late_dim: int = 256
    late_weight: float | int = 0.5
    late_temperature: float | int = 0.07
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        _check_limits(self, vars(self) | kwargs)
        super().__post_init__(**kwargs)

    @property
    def projection_dim(self) -> int:
        """Size of the embeddings of both towers."""
        return self.vision_config.projection_dim

    def validate_objective(self) -> None:
        """Raise ValueError for towers that do not meet in one space or an objective that cannot work."""
        text, vision, top_k = self.text_config.projection_dim, self.projection_dim, self.multi_positive_top_k
        sizes = f"text {text} and vision {vision}"
        _require(self, text == vision, f"both towers need the same projection_dim, got {sizes}.")
        for name in ("temperature", "late_temperature"):
            _require(self, getattr(self, name) > 0, f"{name} must be positive, got {getattr(self, name)}.")
        for name, least in {"queue_size": 1, "contrastive_chunk_size": 0, "late_dim": 1, "late_weight": 0}.items():
            value = getattr(self, name)
            _require(self, value >= least, f"{name} must be at least {least}, got {value}.")
        _require(self, 0 <= self.momentum <= 1, f"momentum must be in [0, 1], got {self.momentum}.")
        _require(self, 0 <= top_k <= self.queue_size, f"multi_positive_top_k must be in 0..queue_size, got {top_k}.")
        norms_train = self.vision_config.train_batch_norm or self.vision_config.train_frozen_batch_norm
        _require(
            self,
            not (self.contrastive_chunk_size and norms_train),
            "contrastive_chunk_size needs vision_config.train_batch_norm=false: the statistics of a chunk "
            "are not those of the batch, and computing a chunk again would count them twice.",
        )

    @classmethod
    def from_variant(cls, variant: str = "nmi", overrides: dict[str, Any] | None = None) -> "BriVLConfig":
        """Return the configuration of a published variant ("nmi", "1.0" or "2.0") with `overrides` on top.

        `overrides` is nested as config.json is: `{"queue_size": 512, "vision_config": {"image_size": 96}}`.

        Raises:
            ValueError: for an unknown variant or unknown keys; the message names all and the nearest known ones.
        """
        if variant not in BRIVL_VARIANTS:
            raise ValueError(f"Unknown BriVL variant {variant!r}; known are {', '.join(BRIVL_VARIANTS)}.")
        overrides = overrides or {}
        problems = _unknown_keys(cls, overrides)
        for name, tower in (("text_config", BriVLTextConfig), ("vision_config", BriVLVisionConfig)):
            problems += _unknown_keys(tower, overrides.get(name) or {}, prefix=f"{name}.")
        if problems:
            raise ValueError(f"Unknown configuration keys: {'; '.join(problems)}")
        return cls(**_merge(BRIVL_VARIANTS[variant], overrides))


def _unknown_keys(config_class: type[PreTrainedConfig], values: dict[str, Any], prefix: str = "") -> list[str]:
    known = [field.name for field in fields(config_class)]
    problems = []
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            problems.append(f"{prefix}{key}" + (f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""))
    return problems


def _merge(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return base with overrides; dictionaries merge, except an encoder_config, which is a whole."""
    merged = dict(base)
    for key, value in overrides.items():
        is_tower = isinstance(value, dict) and key != "encoder_config"
        merged[key] = _merge(merged.get(key, {}), value) if is_tower else value
    return merged


__all__ = ["BRIVL_VARIANTS", "BriVLConfig", "BriVLTextConfig", "BriVLVisionConfig"]
