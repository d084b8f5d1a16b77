"""What befalls one rank, all ranks take alike: two processes, gloo on the CPU."""

import json

import pytest
from helpers import forked
from helpers.training import interrupt_on_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    forked.run_on_ranks(interrupt_on_ranks.main, folder, folder=folder)
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    results = [json.loads((folder / f"rank{rank}.json").read_text("utf-8")) for rank in range(2)]
    assert [result["world_size"] for result in results] == [2, 2]
    return results


def of_both(ranks, run, name):
    return [rank[run][name] for rank in ranks]


def test_full_disk_on_one_rank_costs_both_the_checkpoint(ranks):
    assert of_both(ranks, "stopped", "failed_saves") == [1, 1]
    assert of_both(ranks, "stopped", "checkpoints") == [["checkpoint-4"]] * 2


def test_nan_on_one_rank_drops_the_step_on_both(ranks):
    assert of_both(ranks, "whole", "skipped_steps") == [1, 1]
    assert of_both(ranks, "whole", "finite") == [True, True]


def test_signal_to_one_rank_stops_both_at_the_same_step(ranks):
    assert of_both(ranks, "stopped", "step") == [4, 4]
    assert of_both(ranks, "stopped", "code") == [143, 143]


def test_resumed_ranks_end_bit_equal_to_undisturbed_ones(folder, ranks):
    assert of_both(ranks, "resumed", "step") == [6, 6]
    names = ["model.safetensors", "optimizer.pt", "rng_state_0.pth", "rng_state_1.pth"]
    whole, broken = (folder / run / "checkpoint-6" for run in ("whole", "broken"))
    assert [name for name in names if (whole / name).read_bytes() != (broken / name).read_bytes()] == []
