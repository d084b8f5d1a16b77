"""Number of threads of a command, and the way they wait: decided once, before PyTorch loads."""

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD"


def set_thread_defaults() -> None:
    """Set what the OpenMP of PyTorch reads from the environment, where the user has not set it.

    Threads that spin while they wait take the cores from the one they wait for as soon as another program needs a core
    too: they sleep instead. In a container there are as many threads as its quota has cores, not as the machine has.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (quota := _cpu_quota()) is not None and quota < cores:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(quota))))


def _cpu_quota() -> float | None:
    """Return the cores that the control group of this process may use; None: no limit is known."""
    try:
        quota, period = CPU_MAX.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


__all__ = ["set_thread_defaults"]
