"""The tower of MLMM: text and regions to fused states. What all MLMM models share stands first.

Words used here: *region* = a box that a detector found, with its feature; *joint sequence* = the tokens of a text, then
the regions of an image; *masks* have 1 (or True) for what is real, except `masked_regions`, True for what is hidden.
"""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils import ModelOutput
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .base_model import WenlanPreTrainedModel, transformers_keywords
from .configuration_mlmm import MLMMConfig
from .embeddings import MLMMRegionEmbeddings, MLMMTextEmbeddings
from .heads import MLMMRegionFeatureHead
from .input_checks import check_regions, check_rows, check_text
from .unpadding import restore_rows, unpad

HEADS = ("mlm_head.", "mrfr_head.", "mrc_head.", "itm_head.", "rank_head.", "vqa_head.")
UNUSED_INPUTS = ("region_class_probs", "token_type_ids")  # what a processor or a tokenizer may give beside the inputs


@dataclass
class MLMMModelOutput(ModelOutput):
    """Output of `MLMMModel`. States of padding have no meaning.

    Attributes:
        last_hidden_state: (b, l + n, h) joint sequence: the tokens, then the regions.
        pooler_output: (b, h) of the first token, or of the mean over all tokens where the configuration says so;
            without a text it is that of the regions.
        text_states: (b, l, h), its part of the tokens. None without a text.
        region_states: (b, n, h), its part of the regions. None without regions.
        hidden_states: embeddings and output of every layer, (b, l + n, h) each.
        attentions: of every layer (b, heads, l + n, l + n); rows attend to columns. Only with
            attn_implementation="eager": others have none, and transformers warns.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    text_states: Tensor | None = None
    region_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MLMMPreTrainedModel(WenlanPreTrainedModel):
    """Loading, initialisation and freezing that all MLMM models share."""

    config: MLMMConfig
    base_model_prefix = "mlmm"
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean already; else the Trainer would not divide it by the accumulation
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _no_split_modules = ["MLMMTextEmbeddings", "MLMMRegionEmbeddings", "XLMRobertaLayer"]
    # Parameters of the tower that no loss of this class reaches; frozen, since several processes wait for gradients.
    _unused_parameters: tuple[str, ...] = ("region_embeddings.mask_feature",)
    _new_heads = HEADS
    # Every model opens the checkpoint of every other one and leaves the heads aside that it does not have.
    _keys_to_ignore_on_load_unexpected = [rf"^{head[:-1]}\." for head in HEADS]

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MLMMRegionEmbeddings):
            init.normal_(module.mask_feature, mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, MLMMRegionFeatureHead):
            init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings."""
        return self.base_model.get_submodule("text_embeddings.word_embeddings")

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.base_model.set_submodule("text_embeddings.word_embeddings", value)

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the decoder of the MLM head; None for a model without it."""
        return self.get_submodule("mlm_head.decoder") if hasattr(self, "mlm_head") else None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the decoder of the MLM head."""
        self.set_submodule("mlm_head.decoder", value)

    def freeze(self) -> None:
        """Freeze what the configuration says, and what has no use here.

        Loading recreates parameters, so it runs again after it.
        """
        if self.config.freeze_word_embeddings:
            self.get_input_embeddings().requires_grad_(False)
        layers = self.base_model.get_submodule("encoder.layer").children()
        for layer in islice(layers, self.config.frozen_layers):
            layer.requires_grad_(False)
        for name in self._unused_parameters:
            self.base_model.get_parameter(name).requires_grad_(False)


class MLMMModel(MLMMPreTrainedModel):
    """One transformer over the tokens of a text and the regions of an image; either may be absent.

    The layers are those of transformers' XLM-R: without regions, and with its weights, the model is XLM-R.
    Regions have no order: any permutation of them permutes their states and changes nothing else.
    """

    _unused_parameters = ()

    def __init__(self, config: MLMMConfig) -> None:
        # Here, not above: while transformers loads its Auto classes it already needs this file.
        from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaEncoder, XLMRobertaPooler

        super().__init__(config)
        self.text_embeddings = MLMMTextEmbeddings(config)
        self.region_embeddings = MLMMRegionEmbeddings(config)
        self.encoder = XLMRobertaEncoder(config)
        for module in self.encoder.modules():
            if isinstance(module, nn.LayerNorm):  # XLM-R has one epsilon for embeddings and layers
                module.eps = config.encoder_layer_norm_eps
        self.pooler = XLMRobertaPooler(config)
        self.post_init()
        self.freeze()

    @property
    def _can_record_outputs(self) -> dict[str, type[nn.Module]]:  # type: ignore[override]  # a late import, as above
        from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer, XLMRobertaSelfAttention

        return {"hidden_states": XLMRobertaLayer, "attentions": XLMRobertaSelfAttention}

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        region_features: Tensor | None = None,
        region_boxes: Tensor | None = None,
        region_attention_mask: Tensor | None = None,
        masked_regions: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> MLMMModelOutput:
        """Return the states of tokens and regions, each of which has seen all the others.

        Args:
            input_ids: (b, l) tokens. None: images alone.
            attention_mask: (b, l), 1 = real token. None: all are.
            region_features: (b, n, d) features of the detector; n may be 0. None: texts alone.
            region_boxes: (b, n, 7) x1, y1, x2, y2, width, height, area, relative to the image.
            region_attention_mask: (b, n), 1 = real region; a row of zeros is an image without regions. None: all are.
            masked_regions: (b, n) bool, True = hide this region's feature. None: none is.
            position_ids: (b, l) positions of the tokens. None: counted from `position_offset`, padding left out.
            inputs_embeds: (b, l, h) word embeddings in place of `input_ids`; their padding is what the mask says.
            **kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, and others of transformers.

        Raises:
            TypeError: for keywords that are no input of MLMM and no keyword of transformers.
            ValueError: for neither text nor regions, texts over `max_text_length` (padding included), features of
                another width or with NaN, and shapes that do not belong together.
        """
        keywords = transformers_keywords(kwargs, UNUSED_INPUTS)
        regions = (region_features, region_boxes, region_attention_mask, masked_regions)
        states, mask = self._embed(input_ids, attention_mask, position_ids, inputs_embeds, regions)
        keeps_layout = any(
            keywords.get(name, getattr(self.config, name)) for name in ("output_attentions", "output_hidden_states")
        )
        if self.config.compact_batches and not (keeps_layout or torch.compiler.is_compiling()):
            unpadded, unpadded_mask, source = unpad(states, mask)
            states = restore_rows(self._encode(unpadded, unpadded_mask, **keywords), source, states.shape[1])
        else:
            states = self._encode(states, mask, **keywords)
        text = input_ids if inputs_embeds is None else inputs_embeds
        text_length = 0 if text is None else text.shape[1]
        is_text = mask & (torch.arange(mask.shape[1], device=mask.device) < text_length)
        pooled = torch.where(is_text.any(dim=1, keepdim=True), is_text, mask)
        return MLMMModelOutput(
            last_hidden_state=states,
            pooler_output=self.pool(states, pooled),
            text_states=None if text is None else states[:, :text_length],
            region_states=None if region_features is None else states[:, text_length:],
        )

    def _embed(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        regions: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """Return the joint sequence (b, l + n, h) and what is real of it (b, l + n) bool."""
        parts, masks = [], []
        if input_ids is not None or inputs_embeds is not None:
            check_text(self.config, input_ids, inputs_embeds, attention_mask)
            parts.append(self.text_embeddings(input_ids, position_ids, inputs_embeds, attention_mask))
            masks.append(parts[0].new_ones(parts[0].shape[:2]) if attention_mask is None else attention_mask)
        if any(part is not None for part in regions):
            features, boxes, mask, masked = regions
            features, boxes = check_regions(self.config, features, boxes, mask, masked)
            parts.append(self.embed_regions(features, boxes, masked))
            masks.append(features.new_ones(features.shape[:2]) if mask is None else mask)
        if not parts:
            raise ValueError("MLMM needs input_ids or region_features: there is neither.")
        if len({len(part) for part in parts}) > 1:
            raise ValueError(f"There are {len(parts[0])} texts for {len(parts[1])} images: pair them up.")
        mask = torch.cat([mask.bool() for mask in masks], dim=1)
        check_rows(mask)
        return torch.cat(parts, dim=1), mask

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return what the pooler makes (b, h) of the states (b, s, h) whose mask (b, s) is True: those of the texts."""
        if self.config.pooling == "mean":
            weights = mask[..., None].to(states.dtype)
            pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        else:
            first = mask.int().argmax(dim=1)  # wherever the padding is
            pooled = states[torch.arange(len(states), device=states.device), first]
        return self.pooler(pooled[:, None])

    def embed_regions(self, features: Tensor, boxes: Tensor, masked_regions: Tensor | None = None) -> Tensor:
        """Return the rows (b, n, h) of regions in the joint sequence; shapes as in `forward`."""
        region_type = self.text_embeddings.type_embedding(1, features.device)
        return self.region_embeddings(features, boxes, masked_regions, region_type)

    def _encode(self, states: Tensor, mask: Tensor | None, **kwargs: object) -> Tensor:
        attention = create_bidirectional_mask(config=self.config, inputs_embeds=states, attention_mask=mask)
        return self.encoder(states, attention_mask=attention, **kwargs).last_hidden_state


__all__ = ["HEADS", "MLMMModel", "MLMMModelOutput", "MLMMPreTrainedModel"]
