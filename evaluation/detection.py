"""Mean average precision of detections, as COCO counts it."""

from collections.abc import Mapping, Sequence

from torch import Tensor


def detection_map(
    predictions: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]], class_names: Sequence[str]
) -> dict[str, float]:
    """Return `mAP` (mean over overlaps of 0.50 to 0.95), `mAP50`, `mAP75`, and `AP/NAME` of each class, from 0 to 1.

    A class that no target holds has no metric and does not count.

    Args:
        predictions: one an image: boxes (n, 4) x1 y1 x2 y2, scores (n,), labels (n,). At most 100 of them count.
        targets: one an image: boxes (m, 4) in the same pixels and labels (m,).
        class_names: name of each label.

    Raises:
        ValueError: no target holds a box.
        ImportError: when torchmetrics or pycocotools is not installed.
    """
    if not any(len(one["labels"]) for one in targets):
        raise ValueError(f"None of the {len(targets)} images has a true box, so that there is no mAP; give others.")
    try:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision(class_metrics=True, backend="pycocotools")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"mAP needs torchmetrics and pycocotools: pip install 'wenlan[detection]' ({error})"
        ) from error
    metric.warn_on_many_detections = False
    metric.update(
        [{name: one[name].cpu() for name in ("boxes", "scores", "labels")} for one in predictions],
        [{name: one[name].cpu() for name in ("boxes", "labels")} for one in targets],
    )
    found = metric.compute()
    metrics = {name: float(found[key]) for name, key in (("mAP", "map"), ("mAP50", "map_50"), ("mAP75", "map_75"))}
    each = zip(found["classes"].reshape(-1).tolist(), found["map_per_class"].reshape(-1).tolist(), strict=True)
    return metrics | {f"AP/{class_names[label]}": value for label, value in each if value >= 0}


__all__ = ["detection_map"]
