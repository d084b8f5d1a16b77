"""Two processes train like one with the same global batch: gloo on the CPU."""

import pytest
import torch
from helpers import forked
from helpers.brivl import train_on_ranks
from helpers.brivl.train_on_ranks import SETTINGS, STEPS


def launch(folder, processes):
    forked.run_on_ranks(train_on_ranks.main, folder, folder=folder, processes=processes)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    (result,) = launch(tmp_path_factory.mktemp("one"), 1)
    assert result["world_size"] == 1
    return result


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    results = launch(tmp_path_factory.mktemp("two"), 2)
    assert [result["world_size"] for result in results] == [2, 2]
    return results


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_loss_and_gradients_of_two_ranks_equal_those_of_one(setting, one, two):
    torch.testing.assert_close(two[0][setting]["loss"][0], one[setting]["loss"][0], atol=1e-6, rtol=1e-6)
    expected = one[setting]["gradients"]
    assert set(two[0][setting]["gradients"]) == set(expected)
    for name, gradient in two[0][setting]["gradients"].items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.slow
def test_queues_are_identical_on_both_ranks_and_equal_that_of_one_after_100_steps(one, two):
    assert len(one["queue"]["loss"]) == STEPS == 100
    for name, expected in one["queue"]["queue"].items():
        assert torch.equal(two[0]["queue"]["queue"][name], two[1]["queue"]["queue"][name])
        torch.testing.assert_close(two[0]["queue"]["queue"][name], expected, atol=1e-6, rtol=0)
    assert one["queue"]["queue"]["position"].item() == 6 * STEPS % 32


@pytest.mark.slow
def test_momentum_towers_are_identical_on_both_ranks(two):
    for name, tensor in two[0]["queue"]["momentum"].items():
        assert torch.equal(two[1]["queue"]["momentum"][name], tensor)


@pytest.mark.slow
def test_losses_of_two_ranks_follow_those_of_one_for_100_steps(one, two):
    torch.testing.assert_close(two[0]["queue"]["loss"], one["queue"]["loss"], atol=1e-5, rtol=1e-5)
    assert one["queue"]["loss"].std() > 0.1


@pytest.mark.slow
def test_towers_sharded_by_fsdp2_train_like_whole_ones(one, two):
    """Query and momentum towers are sharded alike, so that the moving average works shard by shard."""
    for result in (one, *two):
        torch.testing.assert_close(result["fsdp2"]["loss"], one["queue"]["loss"][:3], atol=1e-5, rtol=1e-5)
    for name, tensor in two[0]["fsdp2"]["queue"].items():
        assert torch.equal(tensor, two[1]["fsdp2"]["queue"][name])


@pytest.mark.slow
def test_unequal_numbers_of_rows_are_gathered_in_rank_order(two):
    expected = torch.tensor([[0, 1, 2], [100, 101, 102], [103, 104, 105]])
    for rank, result in enumerate(two):
        rows, first = result["uneven"]
        assert torch.equal(rows, expected)
        assert first == rank
        assert torch.equal(result["uneven_groups"], torch.tensor([[0, -1], [1, 1]]))
