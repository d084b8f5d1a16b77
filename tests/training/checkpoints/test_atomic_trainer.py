import json
import os
import resource

import pytest
import torch
from helpers import forked
from helpers.training import lose_batches
from helpers.training.lose_batches import collate, train_with_losses
from helpers.training.tiny_trainer import build_trainer
from safetensors.torch import load_file
from transformers import AutoTokenizer, TrainerCallback, default_data_collator
from transformers.trainer_callback import ExportableState
from wenlan.processing import MLMMProcessor
from wenlan.training.callbacks.set_epoch import SetEpochCallback
from wenlan.training.checkpoints.manifest import verify_checkpoint


class FullDisk(TrainerCallback):
    """Lets no file grow beyond a size while the checkpoint of one step is saved, as a full disk would."""

    def __init__(self, step, limit):
        self.step, self.limit, self.before = step, limit, resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.before[1]))

    def on_save(self, args, state, control, **kwargs):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


class FirstIsBest(TrainerCallback):
    def on_evaluate(self, args, state, control, metrics, **kwargs):
        metrics["eval_loss"] = state.global_step


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


class Listing(TrainerCallback, ExportableState):
    """Notes what is in the folder while a checkpoint is being written: its state is asked for then."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def state(self):
        self.seen.append(checkpoints_in(self.folder))
        return {"args": {}, "attributes": {}}


def checkpoints_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def state_of(checkpoint):
    """Model and optimizer of a checkpoint as one flat dictionary."""
    optimizer = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
    moments = {f"{number}.{name}": x for number, entry in optimizer.items() for name, x in entry.items()}
    return load_file(checkpoint / "model.safetensors") | moments


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_full_disk_costs_one_checkpoint_and_nothing_else(checkpoints, tmp_path, caplog, name):
    """The optimizer's file is the largest, and written after the model's."""
    limit = (checkpoints / "checkpoint-2" / name).stat().st_size - 1000
    trainer = build_trainer(tmp_path / "run", FullDisk(4, limit), max_steps=6, save_total_limit=1)
    trainer.train()
    assert trainer.state.global_step == 6
    assert trainer.failed_saves == 1
    assert "The checkpoint of step 4 could not be saved" in caplog.text
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-6"]
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-6") is None


def test_full_disk_leaves_the_older_checkpoint_whole_and_nothing_half_written(tmp_path):
    trainer = build_trainer(tmp_path / "run", FullDisk(4, 100_000), save_total_limit=1)
    trainer.train()
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-2"]
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-2") is None


def test_full_disk_does_not_change_what_is_trained(tmp_path):
    for name, callbacks in (("full", [FullDisk(2, 100_000)]), ("free", [])):
        build_trainer(tmp_path / name, *callbacks).train()
    assert_equal(state_of(tmp_path / "full" / "checkpoint-4"), state_of(tmp_path / "free" / "checkpoint-4"))


def test_older_checkpoint_goes_only_when_the_new_one_is_there(tmp_path):
    listing = Listing(tmp_path / "run")
    build_trainer(tmp_path / "run", listing, save_total_limit=1).train()
    assert listing.seen[-1] == [".saving-4", "checkpoint-2"]
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-4"]


def test_files_of_a_checkpoint_have_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        build_trainer(tmp_path / "run", max_steps=1, save_steps=1).train()
    finally:
        os.umask(before)
    files = list((tmp_path / "run" / "checkpoint-1").iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    assert len(files) == 8


def test_checkpoint_of_the_same_name_is_replaced(own_checkpoints):
    (own_checkpoints / "checkpoint-4" / "from the earlier run").touch()
    build_trainer(own_checkpoints).train()
    assert verify_checkpoint(own_checkpoints / "checkpoint-4") is None
    assert not (own_checkpoints / "checkpoint-4" / "from the earlier run").exists()
    assert checkpoints_in(own_checkpoints) == ["checkpoint-2", "checkpoint-4"]


def test_best_checkpoint_is_known_by_its_final_name_and_kept(tmp_path):
    trainer = build_trainer(
        tmp_path / "run",
        FirstIsBest(),
        max_steps=6,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="loss",
        load_best_model_at_end=True,
        save_total_limit=1,
        prediction_loss_only=True,
    )
    trainer.train()
    best = str(tmp_path / "run" / "checkpoint-2")
    assert trainer.state.best_model_checkpoint == best
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-2"]
    state = json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text("utf-8"))
    assert (state["best_model_checkpoint"], state["best_global_step"]) == (best, 2)
    assert_equal(trainer.model.state_dict(), load_file(f"{best}/model.safetensors"))


def test_resume_from_the_last_step_trains_no_further(tmp_path):
    """The Trainer alone makes one step more when the last step was in mid-epoch: here the second of four."""
    build_trainer(tmp_path / "run", max_steps=6).train()
    last = tmp_path / "run" / "checkpoint-6"
    trainer = build_trainer(tmp_path / "run", max_steps=6)
    trainer.train(resume_from_checkpoint=str(last))
    assert trainer.state.global_step == 6
    assert_equal(trainer.model.state_dict(), load_file(last / "model.safetensors"))


def test_checkpoints_that_a_killed_run_had_no_time_to_remove_go_when_its_last_is_resumed(tmp_path):
    build_trainer(tmp_path / "run", max_steps=6).train()
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    trainer = build_trainer(tmp_path / "run", max_steps=6, save_total_limit=2)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    assert checkpoints_in(tmp_path / "run") == ["checkpoint-4", "checkpoint-6"]


def test_run_that_saves_nothing_removes_no_checkpoint(own_checkpoints):
    before = checkpoints_in(own_checkpoints)
    build_trainer(own_checkpoints, save_strategy="no", save_total_limit=1).train()
    trainer = build_trainer(own_checkpoints, save_strategy="no", save_total_limit=1)
    trainer.train(resume_from_checkpoint=str(own_checkpoints / before[-1]))
    assert checkpoints_in(own_checkpoints) == before
    assert len(before) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text": {"projection_dim": 12}, "vision": {"projection_dim": 12}},
            r"is of another model: \d+ of \d+ tensors",
        ),
        ({"queue_size": 99}, r"such as queue\.group_ids: \(\d+,\) there and \(99,\) now"),
        ({"vision": {"num_hidden_layers": 1}}, r"there and absent now"),
    ],
)
def test_checkpoint_of_another_model_is_refused_with_an_example(checkpoints, tmp_path, change, message):
    trainer = build_trainer(tmp_path / "run", config=change)
    with pytest.raises(ValueError, match=message):
        trainer.train(resume_from_checkpoint=str(checkpoints / "checkpoint-4"))


def test_checkpoint_of_another_optimizer_is_refused(checkpoints, tmp_path):
    trainer = build_trainer(tmp_path / "run")
    trainer.model.brivl.text_model.encoder.fc1.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"The optimizer of .*checkpoint-4 is another one"):
        trainer.train(resume_from_checkpoint=str(checkpoints / "checkpoint-4"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_run_resumed_in_mid_epoch_is_bit_equal_to_an_unbroken_one(tmp_path, workers, accumulation):
    """Fourteen pairs in batches of two: an epoch has 7 or 2 optimizer steps; the break is in the second epoch."""
    step, last = {1: (10, 20), 4: (3, 6)}[accumulation]
    arguments = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": accumulation,
        "dataloader_num_workers": workers,
        "max_steps": last,
        "save_steps": step,
        "logging_steps": 4,
    }
    build_trainer(tmp_path / "whole", SetEpochCallback(), **arguments).train()
    build_trainer(tmp_path / "broken", SetEpochCallback(), StopAfter(step), **arguments).train()
    broken = tmp_path / "broken" / f"checkpoint-{step}"
    build_trainer(tmp_path / "broken", SetEpochCallback(), **arguments).train(resume_from_checkpoint=str(broken))
    assert_equal(
        state_of(tmp_path / "whole" / f"checkpoint-{last}"), state_of(tmp_path / "broken" / f"checkpoint-{last}")
    )
    states = [tmp_path / name / f"checkpoint-{last}" / "trainer_state.json" for name in ("whole", "broken")]
    whole, broken = (json.loads(path.read_text("utf-8"))["log_history"] for path in states)
    assert broken == whole
    assert [entry["step"] for entry in whole if "loss" in entry][-1] == last


def test_checkpoint_holds_the_processor_of_the_collator(tmp_path, small_tokenizer):
    class Collator:
        processor = MLMMProcessor(small_tokenizer)

        def __call__(self, rows):
            return default_data_collator(rows)

    build_trainer(tmp_path / "run", data_collator=Collator(), max_steps=1, save_steps=1).train()
    opened = AutoTokenizer.from_pretrained(tmp_path / "run" / "checkpoint-1")
    assert opened.get_vocab() == small_tokenizer.get_vocab()
    assert verify_checkpoint(tmp_path / "run" / "checkpoint-1") is None


def test_batch_without_a_usable_row_adds_nothing_to_its_step(tmp_path):
    """Pairs 0, 3 and 6 are lost: one is a whole step, or half of one."""
    start = {name: value.clone() for name, value in build_trainer(tmp_path).model.state_dict().items()}
    lost = train_with_losses(tmp_path, max_steps=1, gradient_accumulation_steps=1)
    assert_equal(lost.model.state_dict(), start)
    trained = train_with_losses(tmp_path)
    assert trained.state.global_step == 4
    assert set(trained.model.queue.group_ids.tolist()) - {-1} == {1, 2, 4, 5, 7}
    assert any(
        not torch.equal(value, start[name]) for name, value in trained.model.brivl.state_dict(prefix="brivl.").items()
    )


def test_step_without_a_usable_row_is_dropped_by_a_gradient_scaler(tmp_path):
    """As fp16 has it; pairs 0 and 3 are lost."""
    states = {}
    for steps in (1, 2, 3, 4):
        sizes = {"per_device_train_batch_size": 1, "save_strategy": "no", "max_steps": steps}
        trainer = build_trainer(tmp_path, data_collator=collate, train_sampling_strategy="sequential", **sizes)
        trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        trainer.train()
        states[steps] = dict(trainer.model.brivl.named_parameters())
    assert_equal(states[1], dict(build_trainer(tmp_path).model.brivl.named_parameters()))
    assert any(not torch.equal(states[2][name], value) for name, value in states[1].items())
    assert_equal(states[4], states[3])


@pytest.mark.slow
def test_batch_that_one_rank_lost_is_left_out_by_all(tmp_path):
    forked.run_on_ranks(lose_batches.main, str(tmp_path), folder=tmp_path)
