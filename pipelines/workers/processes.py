"""Tasks in processes of this machine, each with its own worker.

Processes are spawned: a forked one would inherit PyTorch's threads, which do not run in it.
"""

import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection, get_context
from threading import RLock, Thread
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from .portable_errors import portable_errors

Task = TypeVar("Task")
Result = TypeVar("Result")
DIED = (
    "A worker process died: it was killed, or the memory was not enough for all of them. What is finished is kept: run "
    "the same again, with a smaller num_proc if memory was short."
)


def run_in_processes(
    open_worker: Callable[[], Callable[[Task], Result]], tasks: Iterator[tuple[int, Task]], num_proc: int
) -> Generator[tuple[int, Result], None, None]:
    """Yield the position of each task and its result, in the order in which they are completed.

    The threads of PyTorch are divided between the processes. They end with this one, however it ends.

    Raises:
        ChildProcessError: a process was killed.
    """
    context = get_context("spawn")
    threads = max(1, torch.get_num_threads() // num_proc)
    ours, theirs = context.Pipe()
    arguments = (pickle.dumps(open_worker), threads, theirs)
    pool = ProcessPoolExecutor(num_proc, context, _Process.begin, arguments)
    running: dict[Future[Result], int] = {}
    try:
        while True:
            # Only so many are handed over that no process waits: tasks and results may be large.
            for position, task in islice(tasks, 2 * num_proc - len(running)):
                with _without_interrupts():
                    running[pool.submit(_Process.work, task)] = position
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(DIED) from error
    finally:
        if running:
            ours.close()  # ends those that still compute
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


class _Process:
    """The worker of one process of the pool."""

    open_worker: bytes
    worker: Callable[[Any], Any] | None = None

    @classmethod
    def begin(cls, open_worker: bytes, threads: int, other_end: connection.Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the one that started them ends them
        Thread(target=_exit_when_closed, args=(other_end,), daemon=True).start()
        torch.set_num_threads(threads)
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of the weights that each process loads
        tqdm.set_lock(RLock())  # its own is a semaphore that outlives a process which ends at once
        cls.open_worker = open_worker

    @classmethod
    def work(cls, task: Any) -> Any:
        with portable_errors():
            if cls.worker is None:
                cls.worker = pickle.loads(cls.open_worker)()
            return cls.worker(task)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back from the block, and from the processes that it starts until they ignore it themselves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_when_closed(other_end: connection.Connection) -> None:
    connection.wait([other_end])
    os._exit(1)


__all__ = ["run_in_processes"]
