"""Tasks on the actors of a Ray cluster, through Ray Data.

All nodes need this package, and the files that the tasks read and write at the same paths. Whoever can reach a cluster
can run anything on it: connect to your own only.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .cores import usable_cores
from .portable_errors import portable_errors

Task = TypeVar("Task")
Result = TypeVar("Result")
LOCAL = "local"
SECONDS_TO_CONNECT = 10
MAX_BLOCKS = 10_000  # of tasks; each costs the cluster's scheduler some memory


def run_on_ray(
    open_worker: Callable[[], Callable[[Task], Result]], tasks: Sequence[Task], address: str, num_proc: int | None
) -> Generator[tuple[int, Result], None, None]:
    """Yield the position of each task and its result, in the order in which they are completed; see `run_tasks`.

    A task whose actor was lost runs again on another.
    """
    if not tasks:
        return
    with connected(address, num_proc) as ray:
        data = ray.data
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [{"position": position, "task": pickle.dumps(task)} for position, task in enumerate(tasks)]
        results = data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS)).map_batches(
            _Actor,
            fn_constructor_args=(pickle.dumps(open_worker), os.getcwd()),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(num_proc or gpus or int(resources["CPU"]), len(tasks))),
            num_cpus=1,
            num_gpus=1 if gpus else None,
        )
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if row["failed"]:
                raise result
            yield row["position"], result


class _Actor:
    """The worker of one actor of the cluster."""

    def __init__(self, open_worker: bytes, folder: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.open_worker, self.folder = open_worker, folder
        self.worker: Callable[[Any], Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            with portable_errors():
                if self.worker is None:
                    os.chdir(self.folder)  # that of the caller: paths may be relative
                    self.worker = pickle.loads(self.open_worker)()
                result, failed = self.worker(pickle.loads(batch["task"][0])), False
        except Exception as error:
            result, failed = error, True
        return {"position": [batch["position"][0]], "result": [pickle.dumps(result)], "failed": [failed]}


@contextmanager
def connected(address: str, num_proc: int | None) -> Iterator[ModuleType]:
    """Yield Ray, connected as it was already, or to the cluster at an address, or to one that starts here.

    That one listens on the loopback address alone, unless the caller imported Ray before.

    Raises:
        ImportError: Ray is not installed.
        ValueError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what is harmless here
    if address == LOCAL:  # then Ray, which reads this when it is imported, listens on the loopback address alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("--ray needs a further package: pip install 'wenlan[ray]'") from error
    if address != LOCAL:
        _check_reachable(address)
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == LOCAL:
        options |= {"num_cpus": num_proc or usable_cores(), "include_dashboard": False}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"No Ray cluster answers at {address!r} ({reason}); give local to start one here.") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise ValueError where nothing listens: Ray itself would try for minutes."""
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        if parts.scheme not in ("", "ray") or not parts.hostname or parts.port is None:
            raise ValueError
        socket.create_connection((parts.hostname, parts.port), SECONDS_TO_CONNECT).close()
    except ValueError:
        raise ValueError(f"--ray {address!r}: give local, auto, HOST:PORT or ray://HOST:PORT.") from None
    except OSError as error:
        raise ValueError(f"No Ray cluster answers at {address!r} ({error}); give local to start one here.") from error


__all__ = ["connected", "run_on_ray"]
