import copy

import pytest
import torch
from helpers.brivl.tiny import images, texts
from helpers.training.tiny_trainer import build_trainer
from torch.utils.data import TensorDataset
from transformers import TrainerCallback
from wenlan.training.callbacks.skip_non_finite import NonFiniteGuard


class Snapshots(TrainerCallback):
    """Keeps model and optimizer before and after each step; stands before the guard in no list."""

    def __init__(self):
        self.before, self.after = [], []

    def on_step_begin(self, args, state, control, model, optimizer, **kwargs):
        self.before.append(copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"])))

    def on_step_end(self, args, state, control, model, optimizer, **kwargs):
        self.after.append(copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"])))


class InfiniteGradient(TrainerCallback):
    """Makes the gradient of one parameter infinite in some steps."""

    def __init__(self, steps):
        self.steps, self.step = steps, 0

    def on_step_begin(self, args, state, control, **kwargs):
        self.step = state.global_step + 1

    def on_train_begin(self, args, state, control, model, **kwargs):
        parameter = model.brivl.text_model.encoder.fc1.weight
        parameter.register_hook(lambda gradient: gradient * torch.inf if self.step in self.steps else gradient)


class Pairs(TensorDataset):
    """Pairs of which some have pixels that are not finite."""

    def __init__(self, count, bad, value=float("nan")):
        pixels = images(count)
        pixels[list(bad), 0, 0, 0] = value
        super().__init__(texts(count), pixels)

    def __getitem__(self, index):
        return dict(zip(("input_ids", "pixel_values"), super().__getitem__(index), strict=True))


@pytest.fixture
def train(tmp_path):
    """Trains six steps of two pairs each, in order; row 4 is in step 3. Returns the trainer, guard and snapshots."""

    def run(*callbacks, bad=(), value=float("nan"), guard=None, **arguments):
        guard, snapshots = guard or NonFiniteGuard(), Snapshots()
        defaults = {"per_device_train_batch_size": 2, "max_steps": 6, "save_strategy": "no"}
        trainer = build_trainer(
            tmp_path,
            snapshots,
            guard,
            *callbacks,
            dataset=Pairs(24, bad, value),
            train_sampling_strategy="sequential",
            **(defaults | arguments),
        )
        trainer.train()
        return trainer, guard, snapshots

    return run


def changed(before, after):
    return [name for name in before if not torch.equal(before[name], after[name])]


def tensors_of(optimizer_state):
    return {f"{number}.{name}": x for number, entry in optimizer_state.items() for name, x in entry.items()}


def not_finite(model):
    return [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_row_costs_one_step_and_nothing_becomes_non_finite(train, value):
    trainer, guard, _ = train(bad=[4], value=value)
    assert (trainer.state.global_step, guard.skipped_steps) == (6, 1)
    assert not_finite(trainer.model) == []
    assert all(x.isfinite().all() for x in tensors_of(trainer.optimizer.state_dict()["state"]).values())


def test_without_the_guard_the_same_row_ruins_weights_and_statistics(tmp_path):
    trainer = build_trainer(tmp_path, dataset=Pairs(24, [4]), train_sampling_strategy="sequential", save_strategy="no")
    with pytest.raises(ValueError, match=r"After step 4, .* tensors are not finite"):
        trainer.train()
    ruined = not_finite(trainer.model)
    assert any(name.endswith("running_mean") for name in ruined)
    assert "brivl.text_model.encoder.fc1.weight" in ruined


def test_dropped_step_moves_neither_weights_nor_statistics_nor_optimizer(train):
    _, _, snapshots = train(bad=[4])
    (model, optimizer), (model_after, optimizer_after) = snapshots.before[2], snapshots.after[2]
    assert [name for name in changed(model, model_after) if not name.startswith("momentum_")] == []
    assert changed(tensors_of(optimizer), tensors_of(optimizer_after)) == []
    model_later = snapshots.after[3][0]
    assert "brivl.text_model.encoder.fc1.weight" in changed(model, model_later)


def test_batch_norms_of_both_towers_keep_their_statistics_in_a_dropped_step(train):
    _, _, snapshots = train(bad=[4])
    statistics = [name for name in snapshots.before[2][0] if "running_" in name or "num_batches" in name]
    assert {name.split(".")[0] for name in statistics} == {"brivl", "momentum_vision_model"}
    assert not set(statistics) & set(changed(snapshots.before[2][0], snapshots.after[2][0]))
    assert set(statistics) <= set(changed(snapshots.before[1][0], snapshots.after[1][0]))


def test_infinite_gradient_of_a_finite_loss_is_dropped_too(train):
    trainer, guard, _ = train(InfiniteGradient(steps=[2, 5]))
    assert guard.skipped_steps == 2
    assert not_finite(trainer.model) == []


def test_bad_batch_spoils_only_its_own_accumulated_step(train):
    """Steps of four batches of two: rows 10 and 15 are in the second."""
    trainer, guard, _ = train(bad=[10, 15], gradient_accumulation_steps=4, max_steps=3)
    assert guard.skipped_steps == 1
    assert not_finite(trainer.model) == []


def test_dropped_steps_are_reported_once_in_detail_and_at_the_end(train, caplog):
    train(bad=[4, 9])
    assert caplog.text.count("The loss of step 3 (epoch 0.17) is not finite.") == 1
    assert "step 5" not in caplog.text
    assert "2 of 6 steps were dropped as not finite." in caplog.text


def test_run_of_finite_steps_reports_nothing(train, caplog):
    _, guard, _ = train()
    assert guard.skipped_steps == 0
    assert "not finite" not in caplog.text


def test_guard_changes_nothing_in_a_finite_run(train, tmp_path):
    guarded, _, _ = train()
    arguments = {"per_device_train_batch_size": 2, "max_steps": 6, "save_strategy": "no"}
    plain = build_trainer(tmp_path, dataset=Pairs(24, []), train_sampling_strategy="sequential", **arguments)
    plain.train()
    assert changed(plain.model.state_dict(), guarded.model.state_dict()) == []


def test_stop_ends_the_run_with_the_step(train):
    with pytest.raises(ValueError, match=r"The loss of step 3 .* is not finite\. Look for"):
        train(bad=[4], guard=NonFiniteGuard("stop"))


def test_too_many_bad_steps_in_a_row_end_the_run(train):
    with pytest.raises(ValueError, match="3 steps in a row were not finite"):
        train(bad=[0, 4, 6, 8], guard=NonFiniteGuard(max_skipped_in_a_row=2))


def test_bad_steps_with_good_ones_between_are_not_in_a_row(train):
    _, guard, _ = train(bad=[0, 4, 8], guard=NonFiniteGuard(max_skipped_in_a_row=1))
    assert guard.skipped_steps == 3


def test_run_that_dropped_most_of_its_steps_fails_with_the_first_of_them(train):
    with pytest.raises(ValueError, match=r"4 of 6 steps were dropped as not finite, the first was step 3; no model"):
        train(bad=[4, 6, 8, 11])


def test_dropped_steps_save_no_checkpoint(train, tmp_path):
    """Else those of a run that does not recover would push out all of the time before."""
    train(bad=[6, 8], save_strategy="steps", save_steps=2, save_total_limit=1, max_steps=5)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


def test_weights_that_are_broken_already_end_the_run_at_the_first_dropped_step(train):
    class BreakAWeight(TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 3:
                model.momentum_text_model.encoder.fc1.weight.data[0, 0] = float("nan")

    with pytest.raises(ValueError, match=r"After step 3, 1 of \d+ tensors are not finite, such as momentum_text_model"):
        train(BreakAWeight(), logging_steps=100)


def test_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="'skip' or 'stop'"):
        NonFiniteGuard("ignore")
