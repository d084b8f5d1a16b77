import pytest
import torch
from helpers.brivl.tiny import tiny_config
from helpers.perturb import perturb
from torch import nn
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLVisionModel
from wenlan.modeling_brivl.momentum_queue import NO_GROUP, NegativeQueue, update_momentum


def numbered(numbers, dim=3):
    """Returns rows that hold their number, so that a queue shows what was written where."""
    return torch.tensor(list(numbers), dtype=torch.float32)[:, None].expand(-1, dim)


def enqueue(queue, numbers, groups=None):
    keys = numbered(numbers)
    queue.enqueue(keys, -keys, None if groups is None else torch.tensor(groups))


def contents(queue):
    return queue.image_keys[:, 0].tolist()


@pytest.fixture
def queue():
    queue = NegativeQueue(7, 3)
    enqueue(queue, range(100, 107))
    return queue


def test_batch_that_does_not_divide_the_queue_wraps_around(queue):
    enqueue(queue, range(1, 6))
    enqueue(queue, range(6, 11))
    assert contents(queue) == [8, 9, 10, 4, 5, 6, 7]


def test_position_is_where_the_next_key_goes(queue):
    enqueue(queue, range(5))
    enqueue(queue, range(5))
    assert queue.position.item() == 3


def test_batch_of_one_replaces_only_the_oldest(queue):
    enqueue(queue, [1, 2, 3])
    enqueue(queue, [4])
    assert contents(queue) == [1, 2, 3, 4, 104, 105, 106]


def test_batch_larger_than_the_queue_keeps_the_newest(queue):
    enqueue(queue, [1, 2])
    enqueue(queue, range(10, 29))
    assert sorted(contents(queue)) == list(range(22, 29))


def test_batch_larger_than_the_queue_is_replaced_oldest_first_afterwards(queue):
    enqueue(queue, [1, 2])
    enqueue(queue, range(10, 29))
    enqueue(queue, [50, 51])
    assert sorted(contents(queue)) == [24, 25, 26, 27, 28, 50, 51]


def test_empty_batch_changes_nothing(queue):
    enqueue(queue, [])
    assert (contents(queue), queue.position.item()) == (list(range(100, 107)), 0)


def test_image_and_text_keys_of_a_pair_share_an_index(queue):
    enqueue(queue, range(1, 6))
    enqueue(queue, range(6, 11))
    torch.testing.assert_close(queue.text_keys, -queue.image_keys)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", ["image", "text"])
def test_pair_with_a_non_finite_key_is_left_out(queue, value, side):
    keys = {"image": numbered([1, 2, 3]).clone(), "text": -numbered([1, 2, 3])}
    keys[side] = keys[side].clone()
    keys[side][1, 2] = value
    queue.enqueue(keys["image"], keys["text"], torch.tensor([11, 12, 13]))
    assert contents(queue)[:3] == [1, 3, 102]
    assert queue.text_keys[:3, 0].tolist() == [-1, -3, -102]
    assert queue.group_ids[:3].tolist() == [11, 13, NO_GROUP]
    assert queue.position.item() == 2


def test_group_ids_are_kept_with_their_pairs(queue):
    enqueue(queue, range(1, 6), [31, 32, 33, 34, 35])
    enqueue(queue, range(6, 10), [36, 37, 38, NO_GROUP])
    assert queue.group_ids.tolist() == [38, NO_GROUP, 33, 34, 35, 36, 37]


def test_keys_without_group_ids_have_no_group(queue):
    enqueue(queue, range(7), [5] * 7)
    enqueue(queue, [1, 2])
    assert queue.group_ids.tolist() == [NO_GROUP, NO_GROUP, 5, 5, 5, 5, 5]


def test_half_precision_keys_are_stored_in_float32(queue):
    queue.enqueue(numbered([1, 2]).bfloat16(), numbered([1, 2]).bfloat16())
    assert queue.image_keys.dtype == queue.text_keys.dtype == torch.float32
    assert contents(queue)[:2] == [1, 2]


def test_enqueued_keys_carry_no_gradient(queue):
    queue.enqueue(numbered([1, 2]).clone().requires_grad_(), numbered([1, 2]).clone().requires_grad_())
    assert not queue.image_keys.requires_grad
    assert not queue.text_keys.requires_grad


def test_all_of_the_queue_is_in_the_state_dict(queue):
    assert set(queue.state_dict()) == {"image_keys", "text_keys", "group_ids", "position"}


def test_reloaded_queue_continues_as_the_first_one(queue):
    enqueue(queue, range(1, 6), [31, 32, 33, 34, 35])
    reloaded = NegativeQueue(7, 3)
    reloaded.load_state_dict(queue.state_dict())
    for one in (queue, reloaded):
        enqueue(one, range(6, 11))
    for name, tensor in queue.state_dict().items():
        assert torch.equal(reloaded.state_dict()[name], tensor), name


def test_new_queue_is_the_same_whatever_the_global_seed():
    torch.manual_seed(1)
    first = NegativeQueue(11, 5)
    torch.manual_seed(2)
    second = NegativeQueue(11, 5)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_new_queue_does_not_touch_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    NegativeQueue(11, 5)
    assert torch.equal(torch.rand(3), expected)


def test_new_queue_has_distinct_unit_rows_of_no_group():
    queue = NegativeQueue(11, 5)
    rows = torch.cat([queue.image_keys, queue.text_keys])
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(22))
    assert (rows @ rows.T).fill_diagonal_(0).max() < 0.999
    assert queue.group_ids.tolist() == [NO_GROUP] * 11
    assert queue.position.item() == 0


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5)
        self.linear.bias.requires_grad_(False)


def two_towers():
    return perturb(Tower(), seed=5), perturb(Tower(), seed=6)


def test_momentum_update_is_the_weighted_mean_of_all_parameters_frozen_ones_too():
    key, query = two_towers()
    expected = {name: 0.9 * p + (1 - 0.9) * dict(query.named_parameters())[name] for name, p in key.named_parameters()}
    update_momentum(key, query, 0.9)
    for name, parameter in key.named_parameters():
        torch.testing.assert_close(parameter, expected[name], atol=1e-7, rtol=0)


def test_momentum_update_moves_every_parameter_of_a_tower_with_a_frozen_backbone():
    config = tiny_config(vision={"trainable_backbone": []}).vision_config
    key, query = perturb(BriVLVisionModel(config), seed=5), perturb(BriVLVisionModel(config), seed=6)
    before = {name: p.clone() for name, p in key.named_parameters()}
    update_momentum(key, query, 0.5)
    assert [name for name, p in key.named_parameters() if torch.equal(p, before[name])] == []


def test_momentum_update_leaves_buffers_and_the_query_tower_alone():
    key, query = two_towers()
    buffers = {name: b.clone() for name, b in key.named_buffers()}
    query_state = {name: t.clone() for name, t in query.state_dict().items()}
    update_momentum(key, query, 0.9)
    for name, buffer in key.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    for name, tensor in query.state_dict().items():
        assert torch.equal(tensor, query_state[name]), name


def test_momentum_update_writes_into_the_same_storage():
    key, query = two_towers()
    addresses = [p.data_ptr() for p in key.parameters()]
    update_momentum(key, query, 0.9)
    assert [p.data_ptr() for p in key.parameters()] == addresses


def test_momentum_one_keeps_the_keys_and_zero_copies_the_queries():
    key, query = two_towers()
    before = key.linear.weight.clone()
    update_momentum(key, query, 1.0)
    assert torch.equal(key.linear.weight, before)
    update_momentum(key, query, 0.0)
    torch.testing.assert_close(key.linear.weight, query.linear.weight, atol=1e-7, rtol=0)


def test_unit_keys_stay_unit_rows_in_the_queue():
    queue = NegativeQueue(5, 4)
    keys = F.normalize(torch.randn(3, 4), dim=1)
    queue.enqueue(keys, keys)
    assert torch.equal(queue.image_keys[:3], keys)
