"""MLMM that fills masked words, with or without an image."""

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import can_return_tuple

from .configuration_mlmm import MLMMConfig
from .heads import MLMMMaskedLanguageHead
from .modeling_mlmm import MLMMModel, MLMMPreTrainedModel


class MLMMForMaskedLM(MLMMPreTrainedModel):
    """MLMM with the MLM head over every token; without regions, and with XLM-R's weights, it is XLM-R's fill-mask."""

    _unused_parameters = ("region_embeddings.mask_feature", "pooler.dense.weight", "pooler.dense.bias")
    _tied_weights_keys = {"mlm_head.decoder.weight": "mlmm.text_embeddings.word_embeddings.weight"}

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__(config)
        self.mlmm = MLMMModel(config)
        self.mlm_head = MLMMMaskedLanguageHead(config)
        self.post_init()
        self.freeze()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        region_features: Tensor | None = None,
        region_boxes: Tensor | None = None,
        region_attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> MaskedLMOutput:
        """Return `logits` (b, l, v), and the mean cross-entropy `loss` over labels (b, l) that are not -100.

        The rest of the arguments: as in `MLMMModel`. Memory grows with b x l x v; `MLMMForPreTraining` keeps to the
        masked tokens.

        Raises:
            ValueError: without a text.
        """
        if input_ids is None and inputs_embeds is None:
            raise ValueError("MLMMForMaskedLM fills words, and there is neither input_ids nor inputs_embeds.")
        regions = (region_features, region_boxes, region_attention_mask)
        text = {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        states = self.mlmm(input_ids, attention_mask, *regions, **text, return_dict=True, **kwargs)
        logits = self.mlm_head(states.text_states)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=states.hidden_states, attentions=states.attentions
        )


__all__ = ["MLMMForMaskedLM"]
