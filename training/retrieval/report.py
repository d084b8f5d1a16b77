"""The metrics of models that were fine-tuned to retrieval, as a mapping and as lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .job import RetrievalJob
from .trainer import Recalls


def evaluate_models(
    job: RetrievalJob, models: Mapping[str, Sequence[str]], device: torch.device, folder: Path
) -> dict[str, Any]:
    """Return the recalls of saved models on the test images, with chance and what they were measured on.

    `models` holds the languages in which each is evaluated, by its folder; `folder` keeps the scores.
    """
    recalls: dict[str, Recalls] = {}
    blind: dict[str, Recalls] = {}
    for source, languages in models.items():
        model: nn.Module = job.open(source)
        model.to(device)
        for language in languages:
            recalls[language] = job.evaluate(model, "test", language, folder=folder)
            if job.args.without_regions and job.kind == "mlmm" and language == languages[0]:
                blind[language] = job.evaluate(model, "test", language, folder=folder, blind=True)
    tests = job.tests["test"]
    metrics: dict[str, Any] = {
        "folds": job.data.test_folds,
        "images": {language: len(test.images) for language, test in tests.items()},
        "captions": {language: len(test.texts) for language, test in tests.items()},
        "left_out_of_training": job.leaked,
        "recalls": recalls,
        "without_regions": blind,
    }
    others = [row for language, row in recalls.items() if language != "en"]
    for name, key in (("mean_recall", "mean_recall"), ("chance", "chance_mean_recall")):
        if others:
            metrics[f"{name}_of_other_languages"] = float(np.mean([row[key] for row in others]))
    return metrics


def format_recalls(metrics: Mapping[str, Any]) -> str:
    """Return the metrics as lines, chance beside them."""
    lines = [f"Training images left out, since they are evaluated on: {metrics['left_out_of_training']}"]
    for kind, note in (("recalls", ""), ("without_regions", " with regions of zeros")):
        for language, row in metrics[kind].items():
            numbers = {way: [f"{row[f'{way}_R@{k}']:.1f}" for k in (1, 5, 10)] for way in ("t2i", "i2t")}
            interval = "{:.1f} to {:.1f}, ".format(*row["interval"]) if "interval" in row else ""
            lines.append(
                f"{language}{note}: mean recall {row['mean_recall']:.1f} "
                f"({interval}chance {row['chance_mean_recall']:.1f}); "
                f"R@1, 5, 10: text to image {', '.join(numbers['t2i'])}, back {', '.join(numbers['i2t'])}"
            )
    if "mean_recall_of_other_languages" in metrics:
        lines.append(
            f"mean recall of all languages but en: {metrics['mean_recall_of_other_languages']:.1f} "
            f"(chance {metrics['chance_of_other_languages']:.1f})"
        )
    return "\n".join(lines)


__all__ = ["evaluate_models", "format_recalls"]
