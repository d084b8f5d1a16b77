"""Padding between text and regions goes to the end of the rows and comes back."""

import torch
from wenlan.modeling_mlmm.unpadding import restore_rows, unpad

MASK = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0]]).bool()
STATES = torch.arange(18.0).view(3, 6, 1).repeat(1, 1, 2)


def test_real_places_come_first_and_in_order():
    unpadded, mask, _ = unpad(STATES, MASK)
    assert unpadded.shape == (3, 4, 2)
    assert mask.tolist() == [[True, True, True, False], [True] * 4, [True, False, False, False]]
    assert unpadded[..., 0][mask].tolist() == [0, 1, 4, 6, 9, 10, 11, 14]


def test_restored_rows_have_the_states_where_they_were_and_nothing_new():
    unpadded, _, source = unpad(STATES, MASK)
    restored = restore_rows(unpadded, source, 6)
    assert torch.equal(restored[MASK], STATES[MASK])
    assert restored.shape == STATES.shape


def test_gradients_pass_through_to_the_real_places_alone():
    states = STATES.clone().requires_grad_()
    unpadded, mask, source = unpad(states, MASK)
    restore_rows(unpadded * mask[..., None], source, 6).sum().backward()
    assert torch.equal(states.grad[..., 0], MASK.float())


def test_rows_without_padding_stay_as_they_are():
    unpadded, mask, _ = unpad(STATES, torch.ones(3, 6, dtype=torch.bool))
    assert torch.equal(unpadded, STATES)
    assert mask.all()
