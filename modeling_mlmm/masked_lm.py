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
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        region_features: Tensor | None = None,
        region_boxes: Tensor | None = None,
        region_attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: object,
    ) -> MaskedLMOutput:
        """Return `logits` (b, l, v), and the mean cross-entropy `loss` over labels (b, l) that are not -100.

        The rest of the arguments: as in `MLMMModel`. Memory grows with b x l x v; `MLMMForPreTraining` keeps to the
        masked tokens.
        """
        regions = (region_features, region_boxes, region_attention_mask)
        states = self.mlmm(input_ids, attention_mask, *regions, position_ids=position_ids, **kwargs)
        logits = self.mlm_head(states.text_states)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=states.hidden_states, attentions=states.attentions
        )


__all__ = ["MLMMForMaskedLM"]
