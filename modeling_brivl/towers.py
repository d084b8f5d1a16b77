"""The two towers of BriVL: image or sentence to features. What all BriVL models share stands first."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Unpack

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import TransformersKwargs, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .base_model import WenlanPreTrainedModel, transformers_keywords
from .configuration_brivl import BriVLTextConfig, BriVLVisionConfig
from .frozen_trunk import backbone_stages, is_trainable, run_image_stages, run_text_stages, trunk_depth
from .region_pooling import grid_boxes, pool_regions

logger = logging.get_logger(__name__)

# All that a batch may hold: either tower takes it whole and leaves aside what is not for it.
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds")
IMAGE_INPUTS = ("pixel_values", "boxes", "box_mask", "feature_map")
BATCH_INPUTS = (*TEXT_INPUTS, *IMAGE_INPUTS, "group_ids", "return_loss")


class BriVLPreTrainedModel(WenlanPreTrainedModel):
    """Loading, initialisation and freezing that all BriVL models share."""

    base_model_prefix = "brivl"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean already; else the Trainer would not divide it by the accumulation
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["BriVLEncoderLayer"]
    # BriVLModel opens a pre-training checkpoint too and leaves its momentum half aside.
    _keys_to_ignore_on_load_unexpected: list[str] | set[str] | None = [r"^momentum_", r"^queue\."]

    def _init_weights(self, module: nn.Module) -> None:
        from .pooled_encoder import BriVLAttention  # late, as below

        super()._init_weights(module)
        if isinstance(module, BriVLAttention):  # as `nn.MultiheadAttention` starts
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)

    def _foreign_parts(self) -> Iterator[tuple[nn.Module, Callable[[], nn.Module]]]:
        for module in self.modules():
            if isinstance(module, BriVLVisionModel):
                yield module.backbone, partial(build_timm_model, module.config)

    def freeze(self) -> None:
        """Set `requires_grad` as the configuration says. Loading recreates parameters, so it runs again after it."""
        for module in self.modules():
            if isinstance(module, BriVLVisionModel | BriVLTextModel) and module.config.trainable_backbone is not None:
                for name, parameter in module.backbone.named_parameters():
                    parameter.requires_grad_(is_trainable(name, module.config.trainable_backbone))

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        super()._set_gradient_checkpointing(enable, *args, **kwargs)
        for module in self.modules():
            if isinstance(module, BriVLVisionModel):
                module.backbone.set_grad_checkpointing(enable)


def build_timm_model(config: BriVLVisionConfig) -> nn.Module:
    """Return the backbone of the image tower with timm's own initialisation.

    Raises:
        ValueError: there is no such model, or it has no such keywords.
    """
    try:
        return timm.create_model(config.backbone, num_classes=0, **(config.backbone_kwargs or {}))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"The backbone {config.backbone!r} cannot be built: {str(error)[:200]}") from error


class BriVLTower(BriVLPreTrainedModel):
    """The end of either tower; its layers are those whose states and attentions a tower returns on request."""

    encoder: nn.Module

    @property
    def _can_record_outputs(self) -> dict[str, type[nn.Module]]:  # type: ignore[override]  # a late import, as below
        from .pooled_encoder import BriVLAttention, BriVLEncoderLayer

        return {"hidden_states": BriVLEncoderLayer, "attentions": BriVLAttention}

    # Not around the whole forward pass: the layers of a text encoder that run before have states of their own.
    @merge_with_config_defaults
    @capture_outputs
    def _pool(self, vectors: Tensor, mask: Tensor, **kwargs: Unpack[TransformersKwargs]) -> BaseModelOutputWithPooling:
        """Return states, features and what is recorded; arguments as in `BriVLEncoder`."""
        return self.encoder(vectors, mask, **kwargs)


class BriVLVisionModel(BriVLTower):
    """The image tower: image to features. Source: BriVL 1.0 and BriVL-NMI image encoders."""

    config: BriVLVisionConfig
    backbone: Any  # an nn.Module with the methods of timm's models, which no type names
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]

    def __init__(self, config: BriVLVisionConfig) -> None:
        # Here, not above: while transformers loads its Auto classes it already needs this file.
        from .pooled_encoder import BriVLEncoder

        super().__init__(config)
        self.backbone = build_timm_model(config)
        if not next(self.backbone.parameters()).is_meta:
            for module in self.backbone.modules():
                module._is_hf_initialized = True  # keep timm's own initialisation
        self.trunk_depth = trunk_depth(self.backbone, config.trainable_backbone)
        self.region_projection = nn.Linear(self.backbone.num_features, config.hidden_size)
        self.encoder = BriVLEncoder(config)
        self.post_init()
        self.freeze()

    def get_input_embeddings(self) -> nn.Module:
        """Return the first convolution."""
        return self.backbone.get_submodule(self.backbone.pretrained_cfg["first_conv"])

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the first convolution."""
        self.backbone.set_submodule(self.backbone.pretrained_cfg["first_conv"], value)

    def train(self, mode: bool = True) -> "BriVLVisionModel":
        """Set training mode; batch norms of the backbone stay in evaluation mode where the configuration says so."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                frozen = not is_trainable(f"{name}.weight", self.config.trainable_backbone)
                by_config = self.config.train_frozen_batch_norm if frozen else self.config.train_batch_norm
                module.train(mode and by_config)
        return self

    def run_trunk(self, pixel_values: Tensor) -> Tensor | None:
        """Return the output of the backbone's frozen lower stages (b, c, h, w); None where all of it trains."""
        if self.trunk_depth == 0:
            return None
        return run_image_stages(self.backbone, pixel_values.to(self.dtype), slice(0, self.trunk_depth))

    def _feature_map(self, pixel_values: Tensor | None, trunk_states: Tensor | None) -> Tensor:
        """Return the last feature map of the backbone (b, c, h, w)."""
        if trunk_states is not None:
            return run_image_stages(self.backbone, trunk_states.to(self.dtype), slice(self.trunk_depth, None))
        assert pixel_values is not None
        if pixel_values.ndim != 4 or pixel_values.shape[2] != pixel_values.shape[3]:
            raise ValueError(f"pixel_values must be (batch, 3, size, size), got {tuple(pixel_values.shape)}.")
        pixel_values = pixel_values.to(self.dtype)
        if backbone_stages(self.backbone):
            return run_image_stages(self.backbone, pixel_values, slice(None))
        return self.backbone.forward_features(pixel_values)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        boxes: Tensor | None = None,
        box_mask: Tensor | None = None,
        feature_map: Tensor | None = None,
        trunk_states: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return region states `last_hidden_state` (b, n, c) and image features `pooler_output` (b, d).

        Args:
            pixel_values: (b, 3, s, s), normalised; square. Cast to the dtype of the weights.
            boxes: (b, n, 4) regions as x1, y1, x2, y2 in pixels of the s x s image. None: the grid of the config.
            box_mask: (b, n), 1 = real region. None: all are.
            feature_map: (b, c, h, w) output of `backbone.forward_features`, instead of pixel_values: a frozen backbone
                needs to run only once per image.
            trunk_states: output of `run_trunk` for these pixel_values, or instead of them if they are as large as the
                configuration says, so that the trunk is not run again.

        Raises:
            TypeError: for keywords that are no input of BriVL and no keyword of transformers.
            ValueError: for no image, an image that is not square, or boxes of the wrong shape.
        """
        keywords = transformers_keywords(kwargs, BATCH_INPUTS)
        if (pixel_values is None and trunk_states is None) == (feature_map is None):
            raise ValueError("Give either pixel_values or feature_map to the vision tower.")
        image_size = self.config.image_size if pixel_values is None else pixel_values.shape[-1]
        if feature_map is None:
            feature_map = self._feature_map(pixel_values, trunk_states)
        feature_map = feature_map.to(self.dtype)
        batch_size = feature_map.shape[0]
        if boxes is None:
            boxes = grid_boxes(image_size, self.config.grid_scales, feature_map.device).expand(batch_size, -1, -1)
        if boxes.ndim != 3 or boxes.shape[0] != batch_size or boxes.shape[2] != 4:
            raise ValueError(f"boxes must be ({batch_size}, regions, 4), got {tuple(boxes.shape)}.")
        if box_mask is None:
            box_mask = boxes.new_ones(boxes.shape[:2])
        if box_mask.shape != boxes.shape[:2]:
            raise ValueError(f"box_mask must be {tuple(boxes.shape[:2])}, got {tuple(box_mask.shape)}.")
        regions = pool_regions(
            feature_map,
            boxes,
            image_size=image_size,
            num_samples=self.config.region_samples,
            stretch_boxes=self.config.stretch_boxes,
        )
        return self._pool(self.region_projection(regions), box_mask, **keywords)


class BriVLTextModel(BriVLTower):
    """The text tower: sentence to features. Source: BriVL 1.0 and BriVL-NMI text encoders."""

    config: BriVLTextConfig
    base_model_prefix = "text_model"
    main_input_name = "input_ids"
    input_modalities = ["text"]

    def __init__(self, config: BriVLTextConfig) -> None:
        # Here, not above, as in the image tower.
        from transformers import AutoModel

        from .pooled_encoder import BriVLEncoder

        super().__init__(config)
        self.backbone = AutoModel.from_config(config.encoder_config)
        self.backbone.pooler = None  # unused by BriVL
        self.trunk_depth = trunk_depth(self.backbone, config.trainable_backbone)
        self.encoder = BriVLEncoder(config)
        self.post_init()
        self.freeze()

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings of the text encoder."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embeddings of the text encoder."""
        self.backbone.set_input_embeddings(value)

    def run_trunk(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor | None:
        """Return the output of the encoder's frozen lower layers (b, l, e); None where all of it trains."""
        if self.trunk_depth == 0:
            return None
        input_ids, attention_mask = self._fit_length(input_ids, attention_mask)
        return run_text_stages(self.backbone, input_ids, self._attended(attention_mask), slice(0, self.trunk_depth))

    def _fit_length(self, tokens: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return tokens (ids or embedded) and mask, cut to `max_text_length`; in the faithful mode also padded to it.

        Raises:
            ValueError: for tokens or a mask of another shape than in `forward`.
        """
        is_embedded = tokens.is_floating_point()
        if tokens.ndim != 2 + is_embedded:
            raise ValueError(f"Texts must be ids (b, l) or embeddings (b, l, e), got {tuple(tokens.shape)}.")
        length, limit = tokens.shape[1], self.config.max_text_length
        if attention_mask is None:
            attention_mask = torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)
        if attention_mask.shape != tokens.shape[:2]:
            raise ValueError(f"attention_mask must be {tuple(tokens.shape[:2])}, got {tuple(attention_mask.shape)}.")
        if length > limit:
            logger.warning_once(f"A text of {length} tokens is cut to max_text_length={limit}.")
        elif self.config.attend_padding:
            missing = (0, limit - length)
            attention_mask, pad = F.pad(attention_mask, missing, value=0), self.config.pad_token_id or 0
            if not is_embedded:
                return F.pad(tokens, missing, value=pad), attention_mask
            pads = torch.full((len(tokens), missing[1]), pad, device=tokens.device)
            return torch.cat([tokens, self.get_input_embeddings()(pads)], dim=1), attention_mask
        return tokens[:, :limit], attention_mask[:, :limit]

    def _attended(self, attention_mask: Tensor) -> Tensor | None:
        """Return the mask that the encoder gets: none in the faithful mode."""
        return None if self.config.attend_padding else attention_mask

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        trunk_states: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return token states `last_hidden_state` (b, l, e) and text features `pooler_output` (b, d).

        Args:
            input_ids: (b, l); cut to `max_text_length`. With `attend_padding` they are padded to it here, so that a
                text has one embedding however it comes, and l of all that is returned is `max_text_length`.
            attention_mask: (b, l), 1 = real token. None: all are.
            token_type_ids: accepted because tokenizers give them; BriVL's texts are single segments of type 0.
            trunk_states: output of `run_trunk` for these tokens, so that the trunk is not run again. Without
                `attend_padding` it may stand in place of the tokens.
            inputs_embeds: (b, l, e) token embeddings in place of `input_ids`. Cast to the dtype of the weights.

        Raises:
            TypeError: for keywords that are no input of BriVL and no keyword of transformers.
            ValueError: for no text or two, or tokens or a mask of the wrong shape.
        """
        keywords = transformers_keywords(kwargs, BATCH_INPUTS)
        tokens = input_ids if inputs_embeds is None else inputs_embeds.to(self.dtype)
        if tokens is None and not self.config.attend_padding:
            tokens = trunk_states
        if tokens is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("Give either input_ids or inputs_embeds to the text tower.")
        tokens, attention_mask = self._fit_length(tokens, attention_mask)
        attended = self._attended(attention_mask)
        if trunk_states is None:
            name = "input_ids" if inputs_embeds is None else "inputs_embeds"
            states = self.backbone(**{name: tokens}, attention_mask=attended).last_hidden_state
        else:
            states = run_text_stages(self.backbone, trunk_states, attended, slice(self.trunk_depth, None))
        return self._pool(states, attention_mask, **keywords)


__all__ = ["BriVLPreTrainedModel", "BriVLTextModel", "BriVLVisionModel"]
