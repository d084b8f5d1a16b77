"""Number of cores that this process may use."""

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD"


def usable_cores() -> int:
    """Return how many cores this process may use: of the machine, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if (quota := _cpu_quota()) is None else max(1, min(cores, int(quota)))


def _cpu_quota() -> float | None:
    """Return the cores that the control group of this process may use; None: no limit is known."""
    try:
        quota, period = CPU_MAX.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


__all__ = ["usable_cores"]
