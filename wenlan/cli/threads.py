"""Threads of a command, decided once before PyTorch loads, and the options for more processes and machines."""

import os
from typing import Annotated

import typer

from ..pipelines.workers.cores import usable_cores

NumProc = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that share the shards; all cores for what takes long. With --ray: its actors."),
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray", help="Address of a Ray cluster: auto, HOST:PORT, ray://HOST:PORT, or local to start one."),
]


def set_thread_defaults() -> None:
    """Set what the OpenMP of PyTorch reads from the environment, where the user has not set it.

    Threads that spin while they wait take the cores from the one they wait for as soon as another program needs a core
    too: they sleep instead. In a container there are as many threads as its quota has cores, not as the machine has.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if (cores := usable_cores()) < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


__all__ = ["NumProc", "RayAddress", "set_thread_defaults"]
