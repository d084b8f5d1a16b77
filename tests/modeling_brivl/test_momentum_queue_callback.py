"""The queue and the momentum towers inside `transformers.Trainer`."""

import copy

import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback


class Pairs(Dataset):
    def __init__(self, count):
        self.columns = {"input_ids": texts(count), "pixel_values": images(count), "group_ids": torch.arange(count)}

    def __len__(self):
        return len(self.columns["input_ids"])

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


class Recorder(TrainerCallback):
    """Keeps every output, every call of the model, and the state after each step; runs after the queue callback."""

    def __init__(self, model):
        self.outputs, self.moves, self.enqueued = [], [], []
        self.before_step, self.after_step, self.after_evaluation = [], [], []
        self.model = model
        model.register_forward_hook(lambda module, args, output: self.outputs.append((module.training, output)))
        self.spy(model, "update_momentum", self.moves)
        self.spy(model.queue, "enqueue", self.enqueued)

    @staticmethod
    def spy(owner, name, calls):
        method = getattr(owner, name)

        def call(*args):
            calls.append(args)
            return method(*args)

        setattr(owner, name, call)

    def on_step_begin(self, args, state, control, **kwargs):
        self.before_step.append(state_of(self.model))

    def on_step_end(self, args, state, control, **kwargs):
        self.after_step.append(state_of(self.model))

    def on_evaluate(self, args, state, control, **kwargs):
        self.after_evaluation.append((state_of(self.model), list(self.model._waiting_keys)))

    @property
    def training_outputs(self):
        return [output for training, output in self.outputs if training]


def state_of(model):
    return copy.deepcopy(model.state_dict())


def differing(first, second, prefix=""):
    return [name for name in first if name.startswith(prefix) and not torch.equal(first[name], second[name])]


def build_model(**overrides):
    model = perturb(BriVLForPreTraining(tiny_config(vision={"train_batch_norm": False}, **overrides)))
    model.reset_momentum_towers()
    return model


def train(model, folder, count=10, resume=None, **arguments):
    defaults = {
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "logging_steps": 1,
    }
    args = TrainingArguments(
        output_dir=folder, use_cpu=True, report_to="none", disable_tqdm=True, **(defaults | arguments)
    )
    recorder = Recorder(model)
    trainer = Trainer(
        model, args, train_dataset=Pairs(count), eval_dataset=Pairs(5), callbacks=[MomentumQueueCallback(), recorder]
    )
    trainer.train(resume_from_checkpoint=resume)
    return recorder, trainer


@pytest.fixture(scope="module")
def accumulated(tmp_path_factory):
    """Two optimizer steps of two micro batches of three, with an evaluation after each."""
    torch.set_num_threads(1)
    return train(
        build_model(momentum=0.5),
        tmp_path_factory.mktemp("accumulated"),
        count=12,
        max_steps=2,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        eval_strategy="steps",
        eval_steps=1,
        train_sampling_strategy="sequential",
    )


def test_momentum_towers_move_once_per_optimizer_step(accumulated):
    recorder, _ = accumulated
    assert len(recorder.training_outputs) == 4
    assert len(recorder.moves) == 2


def test_momentum_towers_follow_the_plain_formula_over_two_steps(accumulated):
    recorder, _ = accumulated
    first, second = recorder.after_step
    name = "encoder.fc2.weight"
    expected = 0.5 * first[f"momentum_text_model.{name}"] + 0.5 * first[f"brivl.text_model.{name}"]
    torch.testing.assert_close(second[f"momentum_text_model.{name}"], expected, atol=1e-7, rtol=0)
    assert not torch.equal(expected, first[f"momentum_text_model.{name}"])


def test_momentum_towers_have_moved_before_the_first_forward_of_the_step(accumulated):
    recorder, _ = accumulated
    for before, after in zip(recorder.before_step, recorder.after_step, strict=True):
        assert differing(before, after, "momentum_") == []


def test_keys_of_all_micro_batches_are_enqueued_once_and_in_order(accumulated):
    recorder, _ = accumulated
    assert [len(keys) for keys, _, _ in recorder.enqueued] == [6, 6]
    outputs = recorder.training_outputs
    for step, (image_keys, text_keys, _) in enumerate(recorder.enqueued):
        micro = outputs[2 * step : 2 * step + 2]
        assert torch.equal(image_keys, torch.cat([output.image_keys for output in micro]))
        assert torch.equal(text_keys, torch.cat([output.text_keys for output in micro]))


def test_group_ids_of_all_micro_batches_are_enqueued_in_order(accumulated):
    recorder, _ = accumulated
    assert [groups.tolist() for _, _, groups in recorder.enqueued] == [list(range(6)), list(range(6, 12))]


def test_queue_does_not_change_between_the_micro_batches_of_a_step(accumulated):
    recorder, _ = accumulated
    assert recorder.after_step[0]["queue.position"].item() == 6
    own_columns = slice(1, None)
    first, second = recorder.training_outputs[:2]
    queue = recorder.before_step[0]["queue.text_keys"]
    for output in (first, second):
        expected = output.image_embeds.detach() @ queue.T / 0.07
        torch.testing.assert_close(output.logits_per_image[:, own_columns].detach(), expected, atol=1e-4, rtol=0)


def test_evaluation_between_steps_changes_neither_queue_nor_towers(accumulated):
    recorder, _ = accumulated
    assert [training for training, _ in recorder.outputs].count(False) == 2
    for after_step, (after_evaluation, _) in zip(recorder.after_step, recorder.after_evaluation, strict=True):
        assert differing(after_step, after_evaluation) == []


def test_evaluation_leaves_no_keys_waiting(accumulated):
    recorder, _ = accumulated
    assert [waiting for _, waiting in recorder.after_evaluation] == [[], []]


def test_logged_loss_is_the_mean_of_the_micro_losses(accumulated):
    recorder, trainer = accumulated
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    losses = [output.loss.item() for output in recorder.training_outputs]
    assert logged == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2], abs=1e-4)


def test_trainer_knows_that_the_loss_is_a_mean_already(accumulated):
    """Else it would not divide by the accumulation steps when a batch has labels."""
    _, trainer = accumulated
    assert trainer.model_accepts_loss_kwargs is False


def test_loss_is_evaluated_without_labels(accumulated):
    _, trainer = accumulated
    assert [entry["eval_loss"] > 0 for entry in trainer.state.log_history if "eval_loss" in entry] == [True, True]


def test_short_last_batch_of_an_epoch_is_enqueued_too(tmp_path):
    model = build_model()
    recorder, _ = train(model, tmp_path, count=10, max_steps=-1, num_train_epochs=2)
    assert [len(keys) for keys, _, _ in recorder.enqueued] == [4, 4, 2, 4, 4, 2]
    assert model.queue.position.item() == 20 % 13


def test_short_last_accumulation_of_an_epoch_is_a_step_of_its_own(tmp_path):
    model = build_model()
    recorder, _ = train(model, tmp_path, count=10, max_steps=-1, num_train_epochs=1, gradient_accumulation_steps=2)
    assert [len(keys) for keys, _, _ in recorder.enqueued] == [8, 2]
    assert len(recorder.moves) == 2


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "momentum": 0.5}
    momentum = settings.pop("momentum")
    whole = build_model(momentum=momentum)
    train(whole, tmp_path / "whole", **settings)
    resumed = perturb(build_model(momentum=momentum), seed=9)
    recorder, _ = train(resumed, tmp_path / "resumed", resume=tmp_path / "whole" / "checkpoint-2", **settings)
    assert len(recorder.moves) == 2
    assert differing(whole.state_dict(), resumed.state_dict()) == []


def test_checkpoint_holds_queue_and_momentum_towers_exactly(tmp_path):
    model = build_model(momentum=0.5)
    recorder, _ = train(model, tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    loaded = BriVLForPreTraining.from_pretrained(tmp_path / "checkpoint-2")
    assert differing(recorder.after_step[-1], loaded.state_dict()) == []
    assert differing(loaded.state_dict(), build_model().state_dict(), "queue.") != []
    assert differing(
        {k.removeprefix("momentum_"): v for k, v in loaded.state_dict().items() if k.startswith("momentum_")},
        {k.removeprefix("brivl."): v for k, v in loaded.state_dict().items() if k.startswith("brivl.")},
    )
