"""Number of threads of a command, and the way they wait: decided once, before PyTorch loads."""

import os

from ..pipelines.workers.cores import usable_cores


def set_thread_defaults() -> None:
    """Set what the OpenMP of PyTorch reads from the environment, where the user has not set it.

    Threads that spin while they wait take the cores from the one they wait for as soon as another program needs a core
    too: they sleep instead. In a container there are as many threads as its quota has cores, not as the machine has.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if (cores := usable_cores()) < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


__all__ = ["set_thread_defaults"]
