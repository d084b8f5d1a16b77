"""Run tasks here, in several processes, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Generic, TypeVar

from .cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    open_worker: Callable[[], Callable[[Task], Result]],
    tasks: Iterable[Task],
    *,
    num_proc: int | None = 1,
    ray: str | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield the position of each task and its result, in the order in which they are completed.

    Where there is one process, or one task, all runs in this one. A task that a cluster lost runs again there.

    Args:
        open_worker: returns what makes a result of a task. Called once a process; pickled where there are others, as
            tasks and results are. See `OpenedWorker` for one that is here already.
        tasks: taken as they are needed; all at once with `ray`.
        num_proc: processes; None: one for each core that may be used. With `ray`: the actors, None: one for each GPU of
            the cluster, or for each CPU where it has none.
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
    rest = iter(tasks)
    first = list(islice(rest, num_proc or usable_cores()))
    tasks = chain(first, rest)
    if len(first) > 1:
        from .processes import run_in_processes

        yield from run_in_processes(open_worker, tasks, len(first))
    elif first:
        worker = open_worker()
        yield from ((position, worker(task)) for position, task in enumerate(tasks))


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
