"""MLMM's pre-training: image-text matching, masked language, masked region features and masked region classes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_mlmm import MLMMConfig
from .heads import MLMMClassifierHead, MLMMMaskedLanguageHead, MLMMRegionFeatureHead
from .modeling_mlmm import MLMMModel, MLMMPreTrainedModel

TASKS = ("itm", "mlm", "mrfr", "mrc")


@dataclass
class MLMMForPreTrainingOutput(ModelOutput):
    """Output of `MLMMForPreTraining`: what the given labels ask for. m = masked tokens or regions, in row-major order.

    Attributes:
        loss: (), weighted sum of the losses. None without labels.
        losses: task -> (), each before its weight.
        accuracies: task -> (), fraction of right pairs (itm), words (mlm) and, background left out, classes (mrc).
        itm_logits: (b, 2), column 1 = they match. Also without labels.
        mlm_logits: (m, v) of the tokens with a label.
        mrfr_predictions: (m, d) features of the masked regions, normalized if the config says so.
        mrc_logits: (m, c) of the masked regions.
        text_states, region_states, hidden_states, attentions: as in `MLMMModelOutput`.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    accuracies: dict[str, Tensor] | None = None
    itm_logits: Tensor | None = None
    mlm_logits: Tensor | None = None
    mrfr_predictions: Tensor | None = None
    mrc_logits: Tensor | None = None
    text_states: Tensor | None = None
    region_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MLMMForPreTraining(MLMMPreTrainedModel):
    """MLMM with the heads of its four tasks. Source: WuDao-WenLan, section 2; heads and losses of UC2 and UNITER.

    Each task has a masking of its own, so a training step has one task, drawn by the sampler; labels of several give
    the weighted sum. The heads of the other tasks then have no gradient: with several processes and gradient
    checkpointing set `ddp_find_unused_parameters=True`.
    """

    _unused_parameters = ()
    _tied_weights_keys = {"mlm_head.decoder.weight": "mlmm.text_embeddings.word_embeddings.weight"}

    def __init__(self, config: MLMMConfig) -> None:
        super().__init__(config)
        self.mlmm = MLMMModel(config)
        self.itm_head = nn.Linear(config.hidden_size, 2)
        self.mlm_head = MLMMMaskedLanguageHead(config)
        self.mrfr_head = MLMMRegionFeatureHead(config)
        size, eps = config.hidden_size, config.encoder_layer_norm_eps
        self.mrc_head = MLMMClassifierHead(size, size, config.num_region_classes, eps)
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
        masked_regions: Tensor | None = None,
        position_ids: Tensor | None = None,
        itm_labels: Tensor | None = None,
        mlm_labels: Tensor | None = None,
        mrfr_labels: Tensor | None = None,
        mrc_labels: Tensor | None = None,
        task: str | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> MLMMForPreTrainingOutput:
        """Return the losses of all tasks with labels, and their sum.

        Args:
            itm_labels: (b,) 1 = text and image match, 0 = not, -100 = leave out.
            mlm_labels: (b, l) the hidden token, -100 where none is predicted.
            mrfr_labels: features of the regions before masking: (b, n, d), or (m, d) of the masked ones alone.
            mrc_labels: the detector's probabilities of its classes: (b, n, c), or (m, c); or (m,) classes, for
                the cross-entropy that UNITER calls MRC.
            task: "itm", "mlm", "mrfr" or "mrc": only this loss, whatever other labels there are.
            The rest: as in `MLMMModel`.

        Raises:
            ValueError: for an unknown task, one without labels, region labels without `masked_regions`, and labels
                that do not fit.
        """
        given = {"itm": itm_labels, "mlm": mlm_labels, "mrfr": mrfr_labels, "mrc": mrc_labels}
        labels = {name: value for name, value in given.items() if value is not None and task in (None, name)}
        self._check_labels(task, labels, masked_regions)
        regions = (region_features, region_boxes, region_attention_mask, masked_regions)
        text = {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        states = self.mlmm(input_ids, attention_mask, *regions, **text, return_dict=True, **kwargs)
        output = MLMMForPreTrainingOutput(
            text_states=states.text_states,
            region_states=states.region_states,
            hidden_states=states.hidden_states,
            attentions=states.attentions,
        )
        losses, accuracies = {}, {}
        if "itm" in labels or not labels:
            output.itm_logits = itm_logits = self.itm_head(states.pooler_output)
        if "itm" in labels:
            losses["itm"], accuracies["itm"] = cross_entropy(itm_logits, labels["itm"])
        if "mlm" in labels:
            is_masked = labels["mlm"] != -100
            output.mlm_logits = mlm_logits = self.mlm_head(states.text_states[is_masked])
            losses["mlm"], accuracies["mlm"] = cross_entropy(mlm_logits, labels["mlm"][is_masked])
        if "mrfr" in labels and masked_regions is not None:
            embeddings = self.mlmm.region_embeddings
            masked_states = states.region_states[masked_regions]
            output.mrfr_predictions = predictions = self.mrfr_head(masked_states, embeddings.weight_for(masked_states))
            wanted = embeddings.normalize(_of_masked("mrfr", labels["mrfr"], masked_regions))
            losses["mrfr"] = feature_loss(predictions, wanted)
        if "mrc" in labels and masked_regions is not None:
            output.mrc_logits = mrc_logits = self.mrc_head(states.region_states[masked_regions])
            losses["mrc"], accuracies["mrc"] = class_loss(
                mrc_logits,
                _of_masked("mrc", labels["mrc"], masked_regions),
                reduction=self.config.mrc_reduction,
                background_index=self.config.region_background_index,
            )
        if losses:
            output.loss = sum(getattr(self.config, f"{name}_loss_weight") * loss for name, loss in losses.items())
            output.losses = {name: loss.detach() for name, loss in losses.items()}
            output.accuracies = accuracies
        return output

    def _check_labels(self, task: str | None, labels: dict[str, Tensor], masked_regions: Tensor | None) -> None:
        if task is not None and task not in TASKS:
            raise ValueError(f"Unknown task {task!r}; known are {', '.join(TASKS)}.")
        if task is not None and task not in labels:
            raise ValueError(f"The task {task} needs {task}_labels.")
        if masked_regions is None and (wanting := [f"{name}_labels" for name in ("mrfr", "mrc") if name in labels]):
            raise ValueError(f"{' and '.join(wanting)} need masked_regions: which regions are hidden.")


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of (m, c) logits and the fraction of right rows; labels -100 count in neither."""
    counted = labels != -100
    count = counted.sum().clamp(min=1)
    loss = F.cross_entropy(logits.float(), labels, reduction="sum") / count
    return loss, ((logits.argmax(dim=-1) == labels) & counted).sum() / count


def feature_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error over the (m, d) numbers of masked regions; 0 where none is masked."""
    return F.mse_loss(predictions.float(), targets.float(), reduction="sum") / max(targets.numel(), 1)


def class_loss(logits: Tensor, targets: Tensor, *, reduction: str, background_index: int) -> tuple[Tensor, Tensor]:
    """Return the loss of (m, c) region classes and the fraction of regions whose best class is right.

    For (m, c) probabilities KL(target || prediction) over all classes, for (m,) classes the cross-entropy. Right is
    evaluated without the background, in which the detector's doubt lies.
    """
    if not targets.is_floating_point():
        return cross_entropy(logits, targets)
    divergence = F.kl_div(logits.float().log_softmax(dim=-1), targets.float(), reduction="sum")
    rows = max(len(targets), 1)
    is_background = torch.arange(logits.shape[-1], device=logits.device) == background_index
    best, wanted = (x.masked_fill(is_background, float("-inf")).argmax(dim=-1) for x in (logits, targets))
    return divergence / (rows if reduction == "batchmean" else rows * logits.shape[-1]), (best == wanted).sum() / rows


def _of_masked(name: str, labels: Tensor, masked_regions: Tensor) -> Tensor:
    """Return the labels of the masked regions, whether they are of all regions or of these alone."""
    if labels.shape[:2] == masked_regions.shape and labels.ndim == 3:
        return labels[masked_regions]
    count = int(masked_regions.sum())
    if len(labels) != count:
        raise ValueError(f"{name}_labels are {tuple(labels.shape)} for {count} masked regions.")
    return labels


__all__ = ["TASKS", "MLMMForPreTraining", "MLMMForPreTrainingOutput", "class_loss", "cross_entropy", "feature_loss"]
