"""A folder of images or a file of sentences to a Parquet file of embeddings.

A run that was killed resumes with the same command: finished pieces lie in a hidden folder beside the output until it
is complete, and the output has the same bytes as that of an unbroken run.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from ..data.files.atomic import check_output_file
from ..data.files.lock import output_lock
from ..data.rows.report import BadRowReport, TooManyBadRowsError, check_fraction
from ..data.rows.vocabulary import SAMPLE, check_vocabulary
from ..pipelines.workers.run_tasks import run_tasks
from .embed_inputs import EmbedInputs, Item
from .embed_worker import Embedded, EmbedWorker
from .embedding_shards import EmbeddingShards, ShardTask


def embed_to_parquet(
    model: str,
    source: Path,
    output: Path,
    *,
    detector: str | None = None,
    text_column: str = "text",
    split: str | None = None,
    batch_size: int = 32,
    shard_size: int = 256,
    max_bad_fraction: float = 0.1,
    encoding: str | None = None,
    num_proc: int | None = 1,
    ray: str | None = None,
) -> BadRowReport:
    """Write `id` (path below the folder, or the sentence) and `embedding` (d float32, unit length) row by row.

    What cannot be embedded is left out and counted. The file appears only when it is complete.

    Args:
        model: folder or hub id of a BriVL model.
        source: a folder of images (see `list_images`), an image, a text file with one sentence a line (see
            `open_text`), or a file of pairs, whose captions are read.
        output: the Parquet file.
        detector: folder or hub id of the region detector whose boxes the model looks at (BriVL 1.0), for images.
        text_column, split: of a file of pairs: the column with the captions, and whose rows are taken; None: all.
        batch_size: images or sentences at a time.
        shard_size: images or sentences a shard, which is also what a kill can cost.
        max_bad_fraction: a greater fraction left out is an error; the finished shards stay for the next try.
        encoding: of a text file, if it is not UTF-8 or UTF-16.
        num_proc, ray: processes, or a Ray cluster, that share the shards; see `run_tasks`. The rows are the same.

    Returns:
        Counts of what was written and what was left out, over all runs into `output`.

    Raises:
        FileNotFoundError: no such source.
        ValueError: the source is the output or of another kind, or a detector was given for sentences; another process
            writes the output, or it was begun with another model; an embedding is not finite. Nothing is written.
        ChildProcessError: a process was killed; the finished shards stay for the next try.
        TooManyBadRowsError: too much was left out, and the file is not written.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    check_fraction(max_bad_fraction)
    if output.is_dir():
        raise ValueError(f"{output} is a folder; give the name of a file, such as {output / 'embeddings.parquet'}.")
    check_output_file(output, source)
    inputs = EmbedInputs.open(source, encoding=encoding, text_column=text_column, split=split)
    if detector is not None and not inputs.are_images:
        raise ValueError(f"A detector finds boxes in images, but {source} is a file of sentences; leave it out.")
    worker = EmbedWorker(model, detector=detector, batch_size=batch_size)
    with output_lock(folder := output.with_name(f".{output.name}.shards")), _removed_if_useless(folder):
        store = EmbeddingShards.open(folder, inputs, worker.settings, batch_size, shard_size)
        if not inputs.are_images:
            head = [item for _, item in next(inputs.pieces(SAMPLE), []) if isinstance(item, str)]
            processor = worker.processor
            check_vocabulary(processor.tokenizer, head, max_tokens=processor.max_text_length, what="sentences")
        total, pending = len(store.identities), store.pending()
        tasks = store.tasks(inputs.pieces(shard_size), pending)
        done = run_tasks(partial(_ShardEmbedder, worker.opener()), tasks, num_proc=num_proc, ray=ray)
        with closing(done):
            for _ in tqdm(done, desc="embed", total=total, initial=total - len(pending)):
                pass
        report = store.report(source)
        report.not_looked_at.update(inputs.not_looked_at)
        if report.rows_kept:
            report.raise_above(max_bad_fraction)
            store.merge(output)
    if not report.rows_kept:
        raise TooManyBadRowsError(f"Nothing in {source} can be embedded.\n{report}")
    return report


@contextmanager
def _removed_if_useless(folder: Path) -> Iterator[None]:
    """Remove the folder of shards at the end, and after an error that came before the first one."""
    try:
        yield
    except Exception:
        if not any(folder.glob(f"{EmbeddingShards.name}-*")):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


class _ShardEmbedder:
    """Write shards of embeddings."""

    def __init__(self, open_worker: Callable[[], Callable[[Sequence[Item]], Embedded]]) -> None:
        self.worker = open_worker()

    def __call__(self, task: ShardTask) -> None:
        task.write(self.worker(task.items))


__all__ = ["embed_to_parquet"]
