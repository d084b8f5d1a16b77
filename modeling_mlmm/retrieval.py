"""MLMM for image-text retrieval: one score for a text and an image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput, can_return_tuple
from transformers.utils.loading_report import LoadStateDictInfo

from .configuration_mlmm import MLMMConfig
from .modeling_mlmm import MLMMModel, MLMMPreTrainedModel
from .pretraining import cross_entropy

ITM_HEAD = {"itm_head.weight", "itm_head.bias"}
RANK_HEAD = {"rank_head.weight", "rank_head.bias"}


@dataclass
class MLMMForImageTextRetrievalOutput(ModelOutput):
    """Output of `MLMMForImageTextRetrieval`.

    Attributes:
        loss: (), if labels were given.
        scores: (b,), higher = they match better. Raw: the rank head's output, or the log odds of a match where the
            configuration says `retrieval_loss="itm"`.
        accuracy: (), fraction of wrong pairs below their matching pair; with "itm" fraction of pairs classified right.
        hidden_states, attentions: as in `MLMMModelOutput`.
    """

    loss: Tensor | None = None
    scores: Tensor | None = None
    accuracy: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MLMMForImageTextRetrieval(MLMMPreTrainedModel):
    """MLMM with a rank head. From a pre-training checkpoint the head starts as the matching row of the ITM head.

    Source: retrieval models of UC2 and UNITER.
    """

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__(config)
        self.mlmm = MLMMModel(config)
        self.itm_head = nn.Linear(config.hidden_size, 2)
        self.rank_head = nn.Linear(config.hidden_size, 1)
        self.post_init()
        self.freeze()

    @torch.no_grad()
    def start_rank_head(self) -> None:
        """Make the rank head the matching row of the ITM head."""
        self.rank_head.weight.copy_(self.itm_head.weight[1:])
        self.rank_head.bias.copy_(self.itm_head.bias[1:])

    def freeze(self) -> None:
        """Freeze what the configuration says, and the head that its loss does not use."""
        super().freeze()
        self.itm_head.requires_grad_(self.config.retrieval_loss == "itm")
        self.rank_head.requires_grad_(self.config.retrieval_loss == "margin")

    def _adjust_missing_and_unexpected_keys(self, loading_info: LoadStateDictInfo) -> None:
        """Start the rank head from the ITM head where the checkpoint has only that, before transformers reports."""
        super()._adjust_missing_and_unexpected_keys(loading_info)
        if loading_info.missing_keys >= RANK_HEAD and not ITM_HEAD & loading_info.missing_and_mismatched():
            self.start_rank_head()
            loading_info.missing_keys -= RANK_HEAD

    def _score(self, pooled: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the scores (b,) of pooled states (b, h), and with "itm" the logits (b, 2) they come from."""
        if self.config.retrieval_loss == "itm":
            logits = self.itm_head(pooled)
            return logits[:, 1] - logits[:, 0], logits
        return self.rank_head(pooled).squeeze(-1), None

    def score_embedded(self, states: Tensor, text_mask: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the scores (b,) of pairs whose words and regions are embedded already.

        So the score of many texts with many images needs each text and each image embedded only once. The heads
        compute in their own precision also under autocast: bfloat16 has too few numbers to rank thousands of pairs by.

        Args:
            states: (b, s, h) what `mlmm.text_embeddings` and `mlmm.region_embeddings` gave, tokens first.
            text_mask: (b, s) bool, True = a token of the text.
            mask: (b, s) bool, True = real; padding comes last. None: all are.
        """
        states = self.mlmm._encode(states, mask)
        with torch.autocast(states.device.type, enabled=False):
            return self._score(self.mlmm.pool(states.to(self.rank_head.weight.dtype), text_mask))[0]

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
    ) -> MLMMForImageTextRetrievalOutput:
        """Return the scores of b pairs, row i of the texts with row i of the images.

        Args:
            labels: (b,) 1 = they match, 0 = not. For the margin loss every 1 opens a group: the zeros after it are
                its wrong pairs, wrong images for its text and wrong texts for its image.
            The rest: as in `MLMMModel`.

        Raises:
            ValueError: for labels of another shape, or margin labels that do not begin with 1.
        """
        regions = (region_features, region_boxes, region_attention_mask)
        text = {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        states = self.mlmm(input_ids, attention_mask, *regions, **text, return_dict=True, **kwargs)
        scores, logits = self._score(states.pooler_output)
        loss = accuracy = None
        if labels is not None:
            if labels.shape != scores.shape:
                raise ValueError(f"labels must be {tuple(scores.shape)}, one for each pair, got {tuple(labels.shape)}.")
            if logits is not None:
                loss, accuracy = cross_entropy(logits, labels)
            else:
                loss, accuracy = margin_ranking_loss(scores, labels, margin=self.config.rank_margin)
        return MLMMForImageTextRetrievalOutput(loss, scores, accuracy, states.hidden_states, states.attentions)


def margin_ranking_loss(scores: Tensor, labels: Tensor, *, margin: float) -> tuple[Tensor, Tensor]:
    """Return the mean of max(0, margin + sigmoid(wrong) - sigmoid(right)) over wrong pairs, and their ranking accuracy.

    (b,) scores and labels; a label 1 is the right pair of all zeros that follow it.

    Raises:
        ValueError: where the first pair is no right one.
    """
    is_right = labels == 1
    if len(labels) == 0 or not is_right[0]:
        raise ValueError("The first pair must be a matching one (label 1); the wrong pairs of its group follow.")
    probability = scores.float().sigmoid()
    group = is_right.cumsum(dim=0) - 1
    wrong, right = probability[~is_right], probability[is_right][group[~is_right]]
    count = max(len(wrong), 1)
    return (margin + wrong - right).relu().sum() / count, (wrong < right).sum() / count


__all__ = ["MLMMForImageTextRetrieval", "MLMMForImageTextRetrievalOutput", "margin_ranking_loss"]
