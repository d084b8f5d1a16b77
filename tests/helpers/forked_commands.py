"""Commands as processes of their own, forked from one that has imported everything: seconds less for each."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

IMPORTED = [
    "helpers.finetuning.vqa_sample",
    "wenlan.cli.main",
    "wenlan.conversion.onnx",
    "wenlan.pipelines.visual_question_answering",
    "wenlan.training_scripts.finetune_retrieval",
    "wenlan.training_scripts.pretrain_brivl",
]


def run_forked(program: str, main: Callable[[], int | None], arguments: Sequence[str], log: Path) -> int:
    """Runs `main` with these arguments in the working folder; returns its exit code. What it prints goes to a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)  # the first call starts the server
    process = context.Process(target=_run, args=(program, main, list(arguments), os.getcwd(), log))
    process.start()
    process.join()
    return process.exitcode or 0


def _run(program: str, main: Callable[[], int | None], arguments: list[str], folder: str, log: Path) -> None:
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import torch

    multiprocessing.set_start_method(None, force=True)  # DataLoader workers start as they would in a user's run
    torch.set_num_threads(1)
    sys.argv = [program, *arguments]
    sys.exit(main())
