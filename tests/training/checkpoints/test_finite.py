"""A run whose weights or state break ends before anything of it is saved, and names the step."""

import pytest
import torch
from helpers.training.tiny_trainer import build_trainer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback
from wenlan.training.checkpoints.finite import GROWTH, StateCheck
from wenlan.training.checkpoints.manifest import verify_checkpoint, write_manifest
from wenlan.training.checkpoints.resume import newest_valid_checkpoint


class Change(TrainerCallback):
    """Does something to model and optimizer after a step, before others look at it."""

    def __init__(self, step, change):
        self.step, self.change = step, change

    def on_optimizer_step(self, args, state, control, model, optimizer, **kwargs):
        if state.global_step + 1 == self.step:
            with torch.no_grad():
                self.change(model, optimizer)


def weight(model):
    return model.brivl.text_model.encoder.fc1.weight


def spoil_moment(model, optimizer):
    optimizer.state[weight(model)]["exp_avg_sq"][0, 0] = float("inf")


CHANGES = {
    "a weight": lambda model, optimizer: weight(model)[0, 0].fill_(float("nan")),
    "a momentum tower": lambda model, optimizer: model.momentum_text_model.encoder.fc1.weight[0, 0].fill_(-torch.inf),
    "the queue": lambda model, optimizer: model.queue.text_keys[3, 1].fill_(float("nan")),
    "a batch norm statistic": lambda model, optimizer: (
        next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).running_var[0].fill_(torch.inf)
    ),
    "the optimizer": spoil_moment,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_broken_state_is_never_saved_and_the_good_checkpoint_stays(tmp_path, change):
    trainer = build_trainer(
        tmp_path / "run", Change(3, change), max_steps=8, save_total_limit=1, logging_steps=100, save_steps=2
    )
    with pytest.raises(ValueError, match=r"After step (3|4), .* not finite, such as .*, all were after step 2\."):
        trainer.train()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-2"]
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-2") is None


@pytest.mark.parametrize("strategy", ["no", "epoch"])
def test_run_that_breaks_in_its_last_step_fails(tmp_path, strategy):
    trainer = build_trainer(tmp_path / "run", Change(4, CHANGES["a weight"]), save_strategy=strategy)
    with pytest.raises(ValueError, match=r"After step 4"):
        trainer.train()
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parametrize("factor", [1.01, 1e20])
def test_weights_that_grow_without_bound_end_the_run(tmp_path, factor):
    """Finite, yet no model."""

    def change(model, optimizer):
        weight(model)[0, 0] = factor * GROWTH * max(1, *(x.abs().max() for x in model.parameters()))

    with pytest.raises(ValueError, match=r"The run has diverged: after step 2 the largest weight is .* 1000 times"):
        build_trainer(tmp_path / "run", Change(2, change), logging_steps=1).train()


def test_weights_that_grow_a_lot_pass(tmp_path):
    trainer = build_trainer(tmp_path / "run", Change(1, lambda model, _: weight(model)[0, 0].fill_(0.9 * GROWTH)))
    trainer.train()
    assert isinstance(trainer.state_check, StateCheck)
    assert trainer.state_check.last_finite == 4


@pytest.mark.parametrize(("name", "tensor"), [("model.safetensors", "queue.image_keys"), ("optimizer.pt", "exp_avg")])
def test_older_checkpoint_with_a_non_finite_tensor_is_passed_over(own_checkpoints, caplog, name, tensor):
    """As saved, with a fitting manifest, before states were checked."""
    newest = own_checkpoints / "checkpoint-4"
    if name == "optimizer.pt":
        state = torch.load(newest / name, weights_only=True)
        state["state"][0]["exp_avg"][0] = float("nan")
        torch.save(state, newest / name)
    else:
        weights = load_file(newest / name)
        weights[tensor][0, 0] = float("inf")
        save_file(weights, newest / name, metadata={"format": "pt"})
    (newest / "manifest.json").unlink()
    write_manifest(newest, run=1, step=4)
    assert f"1 of the tensors in {name} are not finite" in verify_checkpoint(newest)
    assert newest_valid_checkpoint(own_checkpoints) == own_checkpoints / "checkpoint-2"
    assert tensor in caplog.text
