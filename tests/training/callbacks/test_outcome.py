"""A run that trained on nothing, or left out too much while training, fails; no model of it is saved."""

import json
import shutil
import tarfile

import pytest
from helpers.training.tiny_trainer import NoisyPairs, build_trainer
from kill_resume import write_inputs
from transformers import TrainerCallback
from wenlan.data.rows.report import BadRowError, BadRowReport
from wenlan.training.run import Run, RunArguments
from wenlan.training_scripts import pretrain_brivl
from wenlan.training_scripts.pretrain_brivl import main

FAST = ["--save_strategy", "no", "--logging_strategy", "no", "--lr_scheduler_type", "constant"]


class AtStep(TrainerCallback):
    """Calls a function after one step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.action()


@pytest.fixture
def inputs(tmp_path):
    """A recipe, and the folder of its 37 images."""
    return str(write_inputs(tmp_path)), tmp_path / "images"


@pytest.fixture
def run_with(monkeypatch):
    """Trains with a function that is called after a step, as somebody's deletion in mid-run."""

    def train(arguments, step, action):
        class RunWith(Run):
            def __init__(self, *args):
                super().__init__(*args)
                self.callbacks.append(AtStep(step, action))

        monkeypatch.setattr(pretrain_brivl, "Run", RunWith)
        return main(arguments)

    return train


@pytest.mark.parametrize("workers", ["0", "1"])
def test_images_that_vanish_in_mid_run_stop_it_soon_with_the_ledger_and_a_checkpoint(inputs, run_with, capsys, workers):
    recipe, images = inputs
    output = images.parent / "out"
    options = ["--max_steps", "300", "--output_dir", str(output), *FAST, "--dataloader_num_workers", workers]

    def delete_some():
        for number in range(28, 37):
            (images / f"{number}.png").unlink()

    with pytest.raises(ValueError, match=r"failed at step \d\d of 300: \d+ of \d+ images of batches were left out"):
        run_with([recipe, *options], 5, delete_some)
    printed = capsys.readouterr().out
    assert "x file missing. First: images of batches: " in printed
    assert "(check the path and `image_root`)" in printed
    assert "The model is in" not in printed
    assert len(list(output.glob("checkpoint-*"))) == 1
    assert not list(output.glob("*.safetensors"))


def test_what_is_lost_in_the_last_steps_counts_too_and_a_resumed_run_remembers_it(inputs, run_with):
    recipe, images = inputs
    options = [recipe, "--max_steps", "9", "--output_dir", str(images.parent / "out"), *FAST]
    options += ["--max_bad_fraction", "0.02"]
    whole = {image: image.read_bytes() for image in images.glob("*.png")}
    with pytest.raises(ValueError, match=r"step 9 of 9: [123] of 36 images of batches were left out, more than 2%"):
        run_with(options, 7, lambda: [(images / f"{n}.png").write_bytes(b"no image") for n in range(0, 37, 2)])
    for image, content in whole.items():
        image.write_bytes(content)
    with pytest.raises(ValueError, match=r"step 9 of 9: [123] of 36 images"):
        main([*options, "--resume"])


def test_what_may_be_left_out_is_left_out(inputs, run_with, capsys):
    recipe, images = inputs
    options = ["--max_steps", "18", "--output_dir", str(images.parent / "out"), *FAST]
    run_with([recipe, *options, "--max_bad_fraction", "0.3"], 9, (images / "3.png").unlink)
    assert "left out 1 x file missing" in capsys.readouterr().out
    state = json.loads((images.parent / "out" / "trainer_state.json").read_text("utf-8"))
    assert state["global_step"] == 18


def test_run_that_lost_all_rows_fails_whatever_may_be_left_out(inputs, monkeypatch):
    recipe, images = inputs
    options = ["--max_steps", "3", "--output_dir", str(images.parent / "out"), *FAST, "--max_bad_fraction", "1"]

    class Gone(Run):
        def train(self, *arguments, **options):
            shutil.rmtree(images)
            super().train(*arguments, **options)

    monkeypatch.setattr(pretrain_brivl, "Run", Gone)
    with pytest.raises(ValueError, match=r"step 3 of 3: (\d+) of \1 images of batches were left out, all there were"):
        main([recipe, *options])
    assert not list((images.parent / "out").glob("*.safetensors"))


@pytest.mark.parametrize("rows", [1, 3])
def test_fewer_pairs_than_a_batch_are_refused_before_training(tmp_path, inputs, rows):
    recipe, images = inputs
    lines = (images / "metadata.jsonl").read_text("utf-8").splitlines()[:rows]
    (images / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    options = [recipe, "--max_steps", "2", "--output_dir", str(tmp_path / "out"), *FAST]
    with pytest.raises(ValueError, match=rf"Nothing would be trained on: {rows} rows make no batch of 4"):
        main(options)
    assert not (tmp_path / "out" / "config.json").exists()
    main([*options, "--dataloader_drop_last", "false"])
    assert (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("left", [0, 1])
def test_stream_that_runs_dry_fails_the_run(inputs, run_with, left, capsys):
    recipe, images = inputs
    shards = [images.parent / f"{number}.tar" for number in range(2)]
    for number, shard in enumerate(shards):
        with tarfile.open(shard, "w") as archive:
            for image in sorted(images.glob("*.png"))[number::2]:
                image.with_suffix(".txt").write_text("一只猫", "utf-8")
                archive.add(image, image.name)
                archive.add(image.with_suffix(".txt"), f"{image.stem}.txt")

    def empty():
        for shard in shards:
            tarfile.open(shard, "w").close()

    options = ["--data", str(images.parent / "*.tar"), "--streaming", "true", "--shuffle_buffer", "2", *FAST]
    options += ["--max_steps", "60", "--output_dir", str(images.parent / "out")]
    with pytest.raises(ValueError, match=r"at step \d+ of 60: the data gave no further batch|2 of 2 shards are broken"):
        run_with([recipe, *options], 8 + left, empty)
    assert "The model is in" not in capsys.readouterr().out


class Broken(NoisyPairs):
    """Pairs of which those from a number on are not finite."""

    def __init__(self, count, first):
        super().__init__(count)
        self.columns["pixel_values"][first:] = float("nan")


@pytest.mark.parametrize(("first", "dropped"), [(0, 5), (8, 2)])
def test_dropped_steps_count_as_left_out(tmp_path, first, dropped):
    dataset = Broken(20, first)
    trainer = build_trainer(
        tmp_path, dataset=dataset, max_steps=5, save_strategy="no", train_sampling_strategy="sequential"
    )
    run = Run(trainer.args, RunArguments())
    for callback in run.callbacks:
        trainer.add_callback(callback)
    if first:
        dataset.columns["pixel_values"][16:] = 0.5
    with pytest.raises(ValueError, match=rf"{dropped} of 5 (optimizer )?steps were (left out|dropped)"):
        run.train(trainer, BadRowReport("rows"), max_bad_fraction=0.3)


def test_many_small_batches_in_a_row_stop_the_run_long_before_the_fraction_of_all_rows_does(tmp_path):
    rows = BadRowReport("rows", rows_kept=1_000_000)
    trainer = build_trainer(tmp_path, max_steps=40, save_strategy="no")
    run = Run(trainer.args, RunArguments(max_skipped_in_a_row=3))

    class Loses(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            rows.keep_rows(1)
            rows.add_bad_row(BadRowError("bad image", "cut"), number=3 if state.global_step > 10 else 0)

    for callback in (*run.callbacks, Loses()):
        trainer.add_callback(callback)
    with pytest.raises(ValueError, match="step 15 of 40: 4 steps in a row lost more than half of their rows"):
        run.train(trainer, rows, max_bad_fraction=0.9)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-15"]


@pytest.mark.parametrize(
    ("evaluated", "message"), [(0, "4 of 16 rows were left out"), (300, "evaluation at step 1: kept 1000 of 1300")]
)
def test_rows_of_an_evaluation_are_no_rows_of_the_training_and_compared_apart(tmp_path, evaluated, message):
    rows = BadRowReport("rows")
    trainer = build_trainer(tmp_path, max_steps=4, save_strategy="no", eval_strategy="steps", eval_steps=1)
    run = Run(trainer.args, RunArguments())

    class Counts(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            rows.keep_rows(3)
            rows.add_bad_row(BadRowError("bad image", "cut"))

        def on_prediction_step(self, args, state, control, **kwargs):
            rows.keep_rows(1000)
            rows.add_bad_row(BadRowError("bad image", "cut"), number=evaluated)

    trainer.callback_handler.callbacks.insert(0, Counts())
    for callback in run.callbacks:
        trainer.add_callback(callback)
    with pytest.raises(ValueError, match=message):
        run.train(trainer, rows, max_bad_fraction=0.2)


@pytest.mark.parametrize("batch", ["1", "2"])
@pytest.mark.parametrize("accumulation", ["1", "3"])
def test_batch_without_a_usable_row_is_left_out_and_the_fraction_alone_decides(
    inputs, run_with, capsys, batch, accumulation
):
    recipe, images = inputs
    options = [recipe, "--max_steps", "12", "--output_dir", str(images.parent / "out"), *FAST]
    options += ["--per_device_train_batch_size", batch, "--gradient_accumulation_steps", accumulation]

    def spoil():
        for number in range(0, 37, 3):
            (images / f"{number}.png").write_bytes(b"no image")

    run_with([*options, "--max_bad_fraction", "0.9"], 2, spoil)
    assert (images.parent / "out" / "model.safetensors").is_file()
    assert "x not an image" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"More than 10% of the rows"):
        main([*options, "--max_bad_fraction", "0.1"])


def test_run_of_which_every_batch_is_lost_stops(inputs, run_with):
    recipe, images = inputs
    options = [recipe, "--max_steps", "60", "--output_dir", str(images.parent / "out"), *FAST]
    with pytest.raises(ValueError, match=r"failed at step 31 of 60: (26 steps in a row lost more|\d+ of \d+ images)"):
        run_with([*options, "--max_bad_fraction", "1"], 5, lambda: [image.unlink() for image in images.glob("*.png")])


def test_model_of_which_nothing_trains_is_refused(tmp_path):
    trainer = build_trainer(tmp_path)
    trainer.model.requires_grad_(False)
    with pytest.raises(ValueError, match="all parameters of the model are frozen"):
        Run(trainer.args, RunArguments()).train(trainer, BadRowReport("rows"), max_bad_fraction=0.1)


def test_run_that_ends_within_its_first_warm_up_step_is_warned_of(inputs, caplog):
    recipe, images = inputs
    options = [recipe, "--max_steps", "1", "--output_dir", str(images.parent / "out"), *FAST[:4]]
    main([*options, "--lr_scheduler_type", "constant_with_warmup", "--warmup_steps", "1"])
    assert "Nothing was learnt: the learning rate was 0 in all steps" in caplog.text
