import pytest
import torch
from wenlan.analysis.vqgan_inversion.tower_sizes import EmbedderAtSizes


def test_steps_take_sizes_in_turn_and_all_calls_of_a_step_the_same(tiny_brivl):
    embed = EmbedderAtSizes(*tiny_brivl, calls=2)
    assert [one.size for one in embed.embedders] == [72, 64]  # its tower reads none below
    images = torch.rand(2, 3, 20, 20)
    found = [embed(images) for _ in range(8)]
    for call, step in enumerate([0, 0, 1, 1, 0, 0, 1, 1]):
        assert torch.equal(found[call], embed.embedders[step](images))
    assert not torch.allclose(found[0], found[2])
    assert found[0].norm(dim=1).tolist() == pytest.approx([1, 1])
