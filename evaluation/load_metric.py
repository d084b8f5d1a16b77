"""The `evaluate` modules of the package, one a folder of `metrics/`, loaded from it without a network.

Each folder is a repository of the Hub as it stands: its script imports, besides libraries, only files beside it. What
it shares with the package is there as a link, so that it is written once.
"""

from pathlib import Path

import evaluate

METRICS_FOLDER = Path(__file__).parent / "metrics"


def list_metrics() -> list[str]:
    """Return the names that `load_metric` knows."""
    return sorted(path.parent.name for path in METRICS_FOLDER.glob("*/*.py") if path.stem == path.parent.name)


def load_metric(
    name: str,
    *,
    num_process: int = 1,
    process_id: int = 0,
    experiment_id: str | None = None,
    cache_dir: str | None = None,
    keep_in_memory: bool = False,
) -> evaluate.Metric:
    """Return an `evaluate` module of the package, ready for `add_batch` and `compute`.

    Args:
        name: one of `list_metrics()`.
        num_process: processes that each add a part of the predictions.
        process_id: of these, this one; 0 computes.
        experiment_id: tells runs apart that use one `cache_dir` at the same time; all processes of a run share it.
        cache_dir: where predictions wait for `compute`, `~/.cache/huggingface/metrics` unless given.
        keep_in_memory: let them wait in memory; for one process only.

    Raises:
        ValueError: no such metric.
    """
    if name not in list_metrics():
        raise ValueError(f"There is no metric {name!r}; the metrics of this package are {', '.join(list_metrics())}.")
    return evaluate.load(
        str(METRICS_FOLDER / name),
        module_type="metric",
        num_process=num_process,
        process_id=process_id,
        experiment_id=experiment_id,
        cache_dir=cache_dir,
        keep_in_memory=keep_in_memory,
    )


__all__ = ["list_metrics", "load_metric"]
