"""A `Trainer` that evaluates detections, in pixels of the original images, and logs each of the losses."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import EvalPrediction

from ...evaluation.detection import detection_map
from ...modeling_region_detector.image_processing_region_detector import RegionImageProcessor
from ...modeling_region_detector.modeling_region_detector import RegionDetector
from ...processing.collators.detection import DetectionCollator
from ..checkpoints.atomic_trainer import AtomicCheckpointTrainer


class DetectorTrainer(AtomicCheckpointTrainer):
    """Train a `RegionDetector`; needs the processor as `processing_class` and `eval_do_concat_batches=False`.

    Attributes:
        score_threshold: detections below it are not evaluated.
    """

    model: RegionDetector
    processing_class: RegionImageProcessor
    data_collator: DetectionCollator
    score_threshold = 0.05

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.compute_metrics = self._compute_metrics
        self._losses: dict[str, list[Tensor]] = defaultdict(list)  # since the last log

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *args: Any, **kwargs: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the loss as the parent does, and keep its parts for the log."""
        loss, outputs = super().compute_loss(model, inputs, True, *args, **kwargs)
        if model.training:
            for name, part in outputs["loss_dict"].items():
                self._losses[name].append(part.detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the parent does, with the mean of each part of this process's loss, without the AP of classes."""
        logs = {name: value for name, value in logs.items() if "AP/" not in name}
        if "loss" in logs:
            logs |= {name: round(torch.stack(parts).mean().item(), 4) for name, parts in self._losses.items()}
            self._losses.clear()
        super().log(logs, start_time)

    @torch.no_grad()
    def prediction_step(  # type: ignore[override]  # lists of dictionaries, which the Trainer gathers as well
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, list[dict[str, Tensor]] | None, list[dict[str, Tensor]] | None]:
        """Return loss, detections and true boxes, the latter two one dictionary an image in original pixels."""
        if not inputs:
            return None, None, None
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            outputs = model(**inputs)
        if prediction_loss_only:
            return outputs.loss, None, None
        detections = self.processing_class.post_process_object_detection(outputs, threshold=self.score_threshold)
        scales = inputs["image_scales"].flip(1).repeat(1, 2)  # x, y, x, y
        targets = [
            {"boxes": label["boxes"] / scale, "labels": label["class_labels"]}
            for label, scale in zip(inputs["labels"], scales, strict=True)
        ]
        return outputs.loss, detections, targets

    def _compute_metrics(self, evaluated: EvalPrediction) -> dict[str, float]:
        names = {int(index): name for index, name in (self.model.config.id2label or {}).items()}
        class_names = [names[index] for index in range(len(names))]
        return detection_map(_flatten(evaluated.predictions), _flatten(evaluated.label_ids), class_names)


def _flatten(batches: Iterable) -> list[dict[str, Tensor]]:
    """Return one dictionary of tensors an image, from batches of dictionaries of arrays."""
    return [{name: torch.as_tensor(value) for name, value in one.items()} for batch in batches for one in batch]


__all__ = ["DetectorTrainer"]
