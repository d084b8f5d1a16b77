"""Attention rollout."""

import torch
from wenlan.analysis import attention_rollout


def random_attentions(layers, size=5):
    return torch.rand(layers, size, size, generator=torch.Generator().manual_seed(1)).softmax(dim=-1)


def test_rows_add_up_to_one_also_of_a_maximum_over_heads():
    attentions = random_attentions(4)
    torch.testing.assert_close(attention_rollout(attentions).sum(dim=1), torch.ones(5))
    torch.testing.assert_close(attention_rollout(3 * attentions), attention_rollout(attentions))


def test_each_layer_is_mixed_with_the_identity_and_the_last_comes_first():
    first, last = random_attentions(2)
    identity = torch.eye(5)
    expected = (last / 2 + identity / 2) @ (first / 2 + identity / 2)
    torch.testing.assert_close(attention_rollout(torch.stack([first, last])), expected)


def test_attention_of_each_state_to_itself_stays_so():
    assert torch.equal(attention_rollout(torch.eye(3).expand(6, 3, 3)), torch.eye(3))
