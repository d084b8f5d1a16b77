"""Training on a stream: shared out among ranks, resumed exactly, and refused where it could not end."""

import json
from collections import Counter
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import forked
from helpers.brivl.tiny import images, texts
from helpers.training import stream_on_ranks
from helpers.training.tiny_trainer import build_trainer
from torch.utils.data import IterableDataset
from transformers import TrainingArguments
from wenlan.data import StreamedPairs
from wenlan.training.callbacks.set_epoch import SetEpochCallback
from wenlan.training.callbacks.stream_per_rank import prepare_streaming


def write_shards(folder, sizes):
    """Shards of so many pairs; the captions are the numbers of all pairs from 0."""
    folder.mkdir()
    first = 0
    for shard, size in enumerate(sizes):
        captions = [str(number) for number in range(first, first + size)]
        pq.write_table(pa.table({"image": [b"unused"] * size, "text": captions}), folder / f"{shard}.parquet")
        first += size
    return folder


def train_on_two_ranks(folder, sizes, *, workers=0, steps, with_callback="yes"):
    shards = write_shards(folder / "shards", sizes)
    options = [str(shards), str(folder / "out"), str(workers), str(steps), with_callback]
    (folder / "out").mkdir()
    forked.run_on_ranks(stream_on_ranks.main, *options, folder=folder)
    ranks = [json.loads((folder / "out" / f"rank{rank}.json").read_text("utf-8")) for rank in range(2)]
    assert [rank["world_size"] for rank in ranks] == [2, 2]
    assert all(len(batch) == 3 for rank in ranks for batch in rank["batches"])
    assert all(len(rank["batches"]) == steps for rank in ranks)
    return [list(chain(*rank["batches"])) for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_two_ranks_see_every_pair_once_a_pass(tmp_path, workers):
    ranks = train_on_two_ranks(tmp_path, [6] * 4, workers=workers, steps=8)
    for one_pass in (slice(0, 12), slice(12, 24)):
        assert sorted(chain(*(seen[one_pass] for seen in ranks))) == list(range(24))
    assert ranks[0][:12] != ranks[0][12:]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[6, 6, 6], [18]], ids=["more shards than ranks", "fewer"])
def test_shards_that_do_not_divide_neither_end_nor_stop_a_rank(tmp_path, sizes):
    ranks = train_on_two_ranks(tmp_path, sizes, steps=12)
    seen = Counter(chain(*ranks))
    assert set(seen) == set(range(18))
    assert sum(seen.values()) == 2 * 12 * 3


@pytest.mark.slow
def test_without_the_callback_half_of_the_pairs_would_be_lost(tmp_path):
    ranks = train_on_two_ranks(tmp_path, [6] * 4, steps=2, with_callback="no")
    assert len(set(chain(*ranks))) == 12  # of the 24 that the two ranks have read


class Tensors(IterableDataset):
    """Numbered pairs of a stream as the inputs of a model; the pixels get noise that depends on the draw alone."""

    def __init__(self, folder, seed):
        self.pairs = StreamedPairs(folder, seed=seed, shuffle_buffer=4, endless=True)
        self.columns = {"input_ids": texts(14), "pixel_values": images(14), "group_ids": torch.arange(14)}

    def __iter__(self):
        for pair in self.pairs:
            row = {name: column[int(pair["text"])] for name, column in self.columns.items()}
            generator = torch.Generator().manual_seed(pair["draw_seed"])
            noise = torch.randn(row["pixel_values"].shape, generator=generator)
            yield row | {"pixel_values": row["pixel_values"] + 0.5 * noise}

    def set_epoch(self, epoch):
        self.pairs.set_epoch(epoch)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "shards", [5, 5, 4])


@pytest.fixture
def train(shards, tmp_path):
    """Returns a function that trains to a step, from a checkpoint or the start, and returns all weights and queues."""

    def run(name, resume=None, stream_seed=0, **arguments):
        dataset, arguments = Tensors(shards, stream_seed), {"save_strategy": "no"} | arguments
        trainer = build_trainer(tmp_path / name, SetEpochCallback(), dataset=dataset, **arguments)
        trainer.add_callback(prepare_streaming(trainer.args))
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model.state_dict()

    return run


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize(
    ("workers", "accumulation", "step"),
    [(0, 1, 2), (0, 1, 7), (0, 2, 3), pytest.param(2, 1, 7, marks=pytest.mark.slow)],
)
def test_resumed_run_is_bit_equal_in_the_first_pass_and_in_later_ones(train, tmp_path, workers, accumulation, step):
    shared = {"dataloader_num_workers": workers, "gradient_accumulation_steps": accumulation, "max_steps": 10}
    whole = train("whole", **shared, save_strategy="steps", save_steps=step)  # a pass is 3.5 batches
    resumed = train("resumed", resume=str(tmp_path / "whole" / f"checkpoint-{step}"), **shared)
    assert_equal(whole, resumed)


@pytest.mark.slow
def test_finished_run_goes_on_as_if_it_had_been_longer_from_the_start(train, tmp_path):
    whole = train("whole", max_steps=9)
    train("short", max_steps=5, save_strategy="steps", save_steps=5)
    assert_equal(whole, train("longer", resume=str(tmp_path / "short" / "checkpoint-5"), max_steps=9))


def test_other_seed_of_the_stream_gives_another_run(train):
    first, second = (train(f"run{seed}", stream_seed=seed, max_steps=1) for seed in range(2))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_run_without_a_number_of_steps_is_refused_with_how_to_find_it(tmp_path):
    args = TrainingArguments(tmp_path, use_cpu=True, per_device_train_batch_size=16, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match=r"--max_steps N.*\(pairs / 32\) steps"):
        prepare_streaming(args)


def test_everything_that_waits_for_the_end_of_an_epoch_is_refused_at_once(tmp_path):
    args = TrainingArguments(tmp_path, use_cpu=True, save_strategy="epoch", logging_strategy="epoch")
    with pytest.raises(ValueError, match=r"--max_steps N.*--save_strategy steps.*--logging_strategy steps"):
        prepare_streaming(args)


def test_ranks_read_for_themselves(tmp_path):
    args = TrainingArguments(tmp_path, use_cpu=True, max_steps=1)
    prepare_streaming(args)
    assert args.accelerator_config.dispatch_batches is False
