"""MLMM for visual question answering: the score of every answer of a fixed vocabulary."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_mlmm import MLMMConfig
from .heads import MLMMClassifierHead
from .modeling_mlmm import MLMMModel, MLMMPreTrainedModel


@dataclass
class MLMMForVisualQuestionAnsweringOutput(ModelOutput):
    """Output of `MLMMForVisualQuestionAnswering`.

    Attributes:
        loss: (), if labels were given: binary cross-entropy, summed over the answers, mean over the questions.
        logits: (b, a); their sigmoid is the score of an answer, which `config.id2label` names.
        accuracy: (), mean target of the best answers.
        hidden_states, attentions: as in `MLMMModelOutput`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    accuracy: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MLMMForVisualQuestionAnswering(MLMMPreTrainedModel):
    """MLMM with a classifier over answers. Source: VQA models of UC2 and UNITER."""

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__(config)
        self.mlmm = MLMMModel(config)
        size = config.hidden_size
        self.vqa_head = MLMMClassifierHead(size, 2 * size, config.num_answers, config.layer_norm_eps)
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
    ) -> MLMMForVisualQuestionAnsweringOutput:
        """Return a logit for every question and answer.

        Args:
            labels: (b, a) scores of the answers in 0..1 (0, .3, .6, .9 or 1 by the number of annotators who agree; a
                row may be all zeros), or (b,) answer ids, -100 for an answer outside the vocabulary.
            The rest: as in `MLMMModel`.

        Raises:
            ValueError: for labels of another width, ids outside the answer vocabulary, and scores outside 0..1.
        """
        regions = (region_features, region_boxes, region_attention_mask)
        text = {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        states = self.mlmm(input_ids, attention_mask, *regions, **text, return_dict=True, **kwargs)
        logits = self.vqa_head(states.pooler_output)
        loss = accuracy = None
        if labels is not None:
            targets = answer_targets(labels, logits.shape[0], logits.shape[1])
            loss = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(targets)
            accuracy = targets.gather(1, logits.argmax(dim=1, keepdim=True)).mean()
        return MLMMForVisualQuestionAnsweringOutput(loss, logits, accuracy, states.hidden_states, states.attentions)


def answer_targets(labels: Tensor, num_questions: int, num_answers: int) -> Tensor:
    """Return (b, a) float targets for (b, a) scores or (b,) answer ids.

    Raises:
        ValueError: for labels that do not fit the questions or the answer vocabulary.
    """
    if labels.shape == (num_questions, num_answers):
        targets = labels.float()
        if ((targets < 0) | (targets > 1)).any():
            low, high = targets.min().item(), targets.max().item()
            raise ValueError(f"Scores of answers must be in 0..1, got {low:.3g}..{high:.3g}.")
        return targets
    if labels.shape != (num_questions,) or labels.is_floating_point():
        raise ValueError(
            f"labels must be ({num_questions}, {num_answers}) scores or ({num_questions},) answer ids, "
            f"got {tuple(labels.shape)}: the answer vocabulary of the model has {num_answers} answers."
        )
    outside = (labels != -100) & ((labels < 0) | (labels >= num_answers))
    if outside.any():
        wrong = labels[outside][0].item()
        raise ValueError(
            f"Answer id {wrong} is not in the answer vocabulary: ids are 0..{num_answers - 1}, or -100 for none."
        )
    one_hot = F.one_hot(labels.clamp(min=0), num_answers).float()
    return torch.where((labels == -100)[:, None], 0.0, one_hot)


__all__ = ["MLMMForVisualQuestionAnswering", "MLMMForVisualQuestionAnsweringOutput", "answer_targets"]
