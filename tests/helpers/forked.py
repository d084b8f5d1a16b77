"""Functions in processes of their own, forked from one that has imported everything: seconds less for each.

`run` is for what a command does, `start` for one that is to be stopped, `run_on_ranks` for what torchrun starts: the
same variables, gloo on the CPU. What torchrun itself does, such as passing signals on, is tested with it.
"""

import gc
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

IMPORTED = [
    "helpers.brivl.train_on_ranks",
    "helpers.finetuning.vqa_sample",
    "wenlan.cli.main",
    "wenlan.conversion.onnx",
    "wenlan.pipelines.visual_question_answering",
    "wenlan.training_scripts.finetune_retrieval",
    "wenlan.training_scripts.pretrain_brivl",
    "wenlan.training_scripts.pretrain_mlmm",
]


def run(function: Callable, *arguments: Any, log: Path) -> None:
    """Calls it in the working folder; what it prints goes to a file.

    Raises:
        RuntimeError: it did not end with 0.
    """
    _join([start(function, *arguments, log=log)], [log])


def start(function: Callable, *arguments: Any, log: Path) -> BaseProcess:
    """Begins the same and returns the process."""
    return _start(function, arguments, log, {})


def run_on_ranks(function: Callable, *arguments: Any, folder: Path, processes: int = 2) -> str:
    """Calls it in so many processes of one group; returns what they printed, one rank after the other.

    Raises:
        RuntimeError: one of them did not end with 0; the others are ended then.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    logs = [folder / f"rank{rank}.log" for rank in range(processes)]
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    started = [_start(function, arguments, log, group | rank) for log, rank in zip(logs, ranks, strict=True)]
    _join(started, logs)
    return "".join(log.read_text("utf-8") for log in logs)


def _start(function: Callable, arguments: tuple, log: Path, environment: Mapping[str, str]) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)  # the first call starts the server
    environment = {"CUDA_VISIBLE_DEVICES": "", **environment}
    process = context.Process(target=_call, args=(function, arguments, os.getcwd(), log, environment))
    process.start()
    return process


def _join(processes: list[BaseProcess], logs: list[Path]) -> None:
    running: dict[Any, tuple[BaseProcess, Path]] = {
        process.sentinel: (process, log) for process, log in zip(processes, logs, strict=True)
    }
    try:
        while running:
            for sentinel in wait(list(running), timeout=300) or [next(iter(running))]:
                process, log = running.pop(sentinel)
                process.join(0)
                if process.exitcode != 0:
                    raise RuntimeError(f"It ended with {process.exitcode}:\n{log.read_text('utf-8')[-4000:]}")
    finally:
        for process in processes:
            process.kill()
            process.join()


def _call(function: Callable, arguments: tuple, folder: str, log: Path, environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    gc.freeze()  # what the server has imported: every collection would go through it
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may run where interrupts are ignored
    multiprocessing.set_start_method(None, force=True)  # DataLoader workers start as they would in a user's run
    torch.set_num_threads(1)
    result = function(*arguments)
    sys.exit(result if isinstance(result, int) else 0)
