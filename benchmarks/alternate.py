"""Two ways of doing the same, timed in turn in one process, so that a drifting machine slows both alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def alternate(
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of every way in every round: the ways in turn, A B A B ..."""
    seconds = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            started = clock()
            way()
            if number >= warm_up:
                seconds[name].append(clock() - started)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> str:
    """Return the median of the ratios round by round, their range, and the ratio of the fastest runs."""
    ratios = sorted(a / b for a, b in zip(slow, fast, strict=True))
    median, best = statistics.median(ratios), min(slow) / min(fast)
    return f"{median:.2f}x median of {len(ratios)} rounds ({ratios[0]:.2f}-{ratios[-1]:.2f}); fastest runs {best:.2f}x"


__all__ = ["alternate", "ratio"]
