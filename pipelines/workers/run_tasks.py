"""Run tasks here, in several processes, or on a Ray cluster."""

from collections.abc import Callable, Generator, Iterable
from itertools import chain, islice
from time import monotonic
from typing import Generic, TypeVar

import torch

from .cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")
SECONDS_ALONE = 10.0  # a process needs some of them to load PyTorch and the model


def run_tasks(
    open_worker: Callable[[], Callable[[Task], Result]],
    tasks: Iterable[Task],
    *,
    num_proc: int | None = 1,
    ray: str | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Yield the position of each task and its result, in the order in which they are completed.

    Where there is one process, or one task, all runs in this one. A task that a cluster lost runs again there. Close
    the generator (`contextlib.closing`) to end the processes before it is exhausted.

    Args:
        open_worker: returns what makes a result of a task. Called once a process; pickled where there are others, as
            tasks and results are. See `OpenedWorker` for one that is here already.
        tasks: taken as they are needed; all at once with `ray`.
        num_proc: processes; None: for what takes longer than `SECONDS_ALONE` one for each core that may be used, but
            only this one where there is a GPU. With `ray`: the actors; None: one for each GPU of the cluster, or for
            each CPU where it has none.
        ray: address of a Ray cluster ("auto", "HOST:PORT", "ray://HOST:PORT"), or "local" for one on this machine.

    Raises:
        ValueError: `num_proc` is below 1, or there is no cluster at the address.
        ImportError: Ray is not installed.
        ChildProcessError: a process was killed.
        Exception: what a worker raised, or where that cannot be pickled, the nearest class that can.
    """
    if num_proc is not None and num_proc < 1:
        raise ValueError(f"num_proc is {num_proc}; it must be 1 or more.")
    if ray is not None:
        from .ray_actors import run_on_ray

        yield from run_on_ray(open_worker, list(tasks), ray, num_proc)
        return
    rest, worker = enumerate(tasks), None
    if num_proc is None:
        num_proc, end = 1 if torch.cuda.is_available() else usable_cores(), monotonic() + SECONDS_ALONE
        for position, task in rest:
            worker = worker or open_worker()
            yield position, worker(task)
            if monotonic() > end:
                break
    first = list(islice(rest, num_proc))
    numbered = chain(first, rest)
    if len(first) > 1:
        from .processes import run_in_processes

        yield from run_in_processes(open_worker, numbered, len(first))
    elif first:
        worker = worker or open_worker()
        yield from ((position, worker(task)) for position, task in numbered)


class OpenedWorker(Generic[Task, Result]):
    """An `open_worker` that returns a worker of this process here, and opens one anew in any other.

    Args:
        worker: what it returns here.
        open_worker: what it is when it was pickled.
    """

    def __init__(self, worker: Callable[[Task], Result], open_worker: Callable[[], Callable[[Task], Result]]) -> None:
        self.worker, self.open_worker = worker, open_worker

    def __call__(self) -> Callable[[Task], Result]:
        """Return the worker."""
        return self.worker

    def __reduce__(self) -> tuple:
        return _same, (self.open_worker,)


def _same(open_worker: Callable) -> Callable:
    return open_worker


__all__ = ["OpenedWorker", "run_tasks"]
