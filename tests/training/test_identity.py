"""A resumed run is the one that was begun, or it is refused with what differs."""

import json
import shutil
import tarfile

import pytest
from helpers.training.recipes import SMOKE
from kill_resume import write_inputs
from PIL import Image
from wenlan.training.identity import IDENTITY, refuse_other_run
from wenlan.training_scripts.pretrain_brivl import main

STEPS = ["--max_steps", "3", "--save_steps", "2", "--logging_strategy", "no", *SMOKE]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with `recipe.yaml`, `images/` and the run `out/`, from which its last checkpoint is gone."""
    folder = tmp_path_factory.mktemp("begun")
    output = main([str(write_inputs(folder)), *STEPS, "--output_dir", str(folder / "out")])
    shutil.rmtree(output / "checkpoint-3")
    return folder


@pytest.fixture
def run(begun, tmp_path):
    """A copy of it in another place, which is the same run."""
    return shutil.copytree(begun, tmp_path / "moved")


def resume(folder, *options):
    recipe, data = str(folder / "recipe.yaml"), str(folder / "images")
    return main([recipe, *STEPS, "--data", data, "--output_dir", str(folder / "out"), "--resume", *options])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model_config.temperature", "0.2"], r"model\.temperature is 0\.07 there and 0\.2 now"),
        (["--model_config.momentum", "0.5"], r"model\.momentum is 0\.9 there and 0\.5 now"),
        (["--model_config.in_batch_negatives", "true"], r"model\.in_batch_negatives is False there and True now"),
        (["--model_config.text_config.hidden_dropout_prob", "0.3"], r"text_config\.hidden_dropout_prob is 0\.1"),
        (["--seed", "7"], "seed is 42 there and 7 now"),
        (["--per_device_train_batch_size", "8"], "per_device_train_batch_size is 4 there and 8 now"),
        (["--gradient_accumulation_steps", "2"], "gradient_accumulation_steps is 1 there and 2 now"),
        (["--learning_rate", "1"], "learning_rate is 0.001 there and 1.0 now"),
        (["--lr_scheduler_type", "cosine"], "lr_scheduler_type is 'linear' there and 'cosine' now"),
        (["--warmup_steps", "2"], "warmup_steps is 0 there and 2.0 now"),
        (["--max_steps", "5"], "max_steps is 3 there and 5 now"),
        (["--max_steps", "-1", "--num_train_epochs", "1"], "max_steps is 3 there and -1 now, num_train_epochs is None"),
        (["--dataloader_drop_last", "false"], "dataloader_drop_last is True there and False now"),
        (["--augmentation.rotation_degrees", "3"], r"augmentation\.rotation_degrees is 15.0 there and 3.0 now"),
        (["--duplicate_captions", "mask"], "duplicate_captions is 'ignore' there and 'mask' now"),
        (["--cached_views", "1", "--model_config.vision_config.trainable_backbone", "[]"], "cached_views is 0 there"),
        (["--lora_rank", "2"], "lora_rank is 0 there and 2 now"),
    ],
)
def test_other_settings_are_refused_by_name_and_value(begun, options, message):
    before = (begun / "out" / "data_report.json").read_bytes()
    with pytest.raises(ValueError, match=message) as error:
        resume(begun, *options)
    assert "checkpoint-2 was trained otherwise" in str(error.value)
    assert len(str(error.value).replace(str(begun), "")) < 400
    assert (begun / "out" / "data_report.json").read_bytes() == before


def change_caption(images):
    lines = (images / "metadata.jsonl").read_text("utf-8")
    (images / "metadata.jsonl").write_text(lines.replace("Smileys", "Smilies", 1), "utf-8")


def swap_rows(images):
    first, second, *rest = (images / "metadata.jsonl").read_text("utf-8").splitlines()
    (images / "metadata.jsonl").write_text("\n".join([second, first, *rest]), "utf-8")


def leave_a_row_out(images):
    lines = (images / "metadata.jsonl").read_text("utf-8").splitlines()
    (images / "metadata.jsonl").write_text("\n".join(lines[:-1]), "utf-8")


def repaint_image(images):
    Image.new("RGB", (96, 96), "red").save(images / "5.png")


def add_boxes(images):
    lines = map(json.loads, (images / "metadata.jsonl").read_text("utf-8").splitlines())
    rows = [json.dumps(row | {"boxes": [[1, 2, 30, 40]]}) for row in lines]
    (images / "metadata.jsonl").write_text("\n".join(rows), "utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_caption, r"data differs|vocabulary"),
        (swap_rows, r"otherwise: data differs, data\.images differs"),
        (leave_a_row_out, r"data differs, data\.images differs, data\.rows is 37 there and 36 now"),
        (repaint_image, r"otherwise: data\.images differs"),
        (add_boxes, r"otherwise: data differs\. "),
    ],
)
def test_other_data_are_refused_and_cannot_be_accepted(run, change, message):
    change(run / "images")
    with pytest.raises(ValueError, match=message) as error:
        resume(run, "--accept_changes", "true")
    assert "--accept_changes" not in str(error.value)


def test_moved_run_goes_on_with_other_workers_logs_and_limits(run, capsys):
    options = ["--dataloader_num_workers", "1", "--logging_strategy", "steps", "--logging_steps", "1"]
    folder = resume(run, *options, "--max_bad_fraction", "0.5", "--save_total_limit", "1", "--run_name", "again")
    assert "checkpoint-2" in capsys.readouterr().out
    assert json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"] == 3


def test_other_settings_go_on_where_that_is_wanted(run, capsys):
    folder = resume(run, "--learning_rate", "1e-5", "--max_steps", "4", "--accept_changes", "true")
    assert "with other settings, as accepted: learning_rate is 0.001 there and 1e-05 now" in capsys.readouterr().out
    assert json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"] == 4
    assert json.loads((folder / "checkpoint-4" / IDENTITY).read_text("utf-8"))["settings"]["learning_rate"] == 1e-5


def test_checkpoint_that_is_named_is_compared_too(begun, tmp_path):
    recipe, checkpoint = str(begun / "recipe.yaml"), str(begun / "out" / "checkpoint-2")
    options = ["--resume_from_checkpoint", checkpoint, "--seed", "3", "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match="checkpoint-2 was trained otherwise: seed is 42 there and 3 now"):
        main([recipe, *STEPS, *options])


def test_run_without_a_checkpoint_yet_is_the_same_run_or_refused(run):
    shutil.rmtree(run / "out" / "checkpoint-2")
    with pytest.raises(ValueError, match="out was trained otherwise: seed is 42 there and 3 now"):
        resume(run, "--seed", "3")
    assert resume(run).name == "out"


@pytest.mark.parametrize(("text", "message"), [("[1]", "holds no identity of a run"), ('{"settings": {', "is no JSON")])
def test_damaged_identity_is_named(text, message, tmp_path):
    (tmp_path / IDENTITY).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        refuse_other_run(tmp_path, {"settings": {}, "content": {}})


def test_folder_of_an_older_version_is_taken_with_a_word_on_it(tmp_path, capsys):
    refuse_other_run(tmp_path, {"settings": {}, "content": {}})
    assert "an older version wrote it" in capsys.readouterr().out


def test_stream_is_its_shards_and_the_number_of_its_readers(begun, tmp_path):
    images = begun / "images"
    for number in range(2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for image in sorted(images.glob("*.png"))[number::2]:
                (tmp_path / "text.txt").write_text("一只猫", "utf-8")
                archive.add(image, image.name)
                archive.add(tmp_path / "text.txt", f"{image.stem}.txt")
    options = ["--data", str(tmp_path / "*.tar"), "--streaming", "true", "--output_dir", str(tmp_path / "out")]
    command = [str(begun / "recipe.yaml"), *STEPS, *options]
    shutil.rmtree(main(command) / "checkpoint-3")
    with pytest.raises(ValueError, match=r"data\.readers is 1 there and 2 now"):
        main([*command, "--resume", "--dataloader_num_workers", "2"])
    main([*command, "--resume", "--dataloader_num_workers", "1"])
    shutil.rmtree(tmp_path / "out" / "checkpoint-3")
    shard = bytearray((tmp_path / "1.tar").read_bytes())
    shard[600] ^= 1
    (tmp_path / "1.tar").write_bytes(shard)
    with pytest.raises(ValueError, match="otherwise: data differs"):
        main([*command, "--resume"])


@pytest.mark.parametrize(("value", "is_same"), [(False, True), (0, True), ([], True), (True, False), (2, False)])
def test_field_of_a_newer_version_is_the_same_run_where_it_changes_nothing(tmp_path, value, is_same):
    older = {"settings": {"seed": 1}, "content": {"model": {"layers": 3}}}
    (tmp_path / IDENTITY).write_text(json.dumps(older), "utf-8")
    wanted = {"settings": {"seed": 1}, "content": {"model": {"layers": 3, "frozen": value}}}
    if is_same:
        refuse_other_run(tmp_path, wanted)
    else:
        with pytest.raises(ValueError, match=r"trained otherwise: model\.frozen is None there and"):
            refuse_other_run(tmp_path, wanted)


def test_field_that_was_given_and_is_now_empty_is_another_run(tmp_path):
    (tmp_path / IDENTITY).write_text(json.dumps({"settings": {"curriculum": [1]}, "content": {}}), "utf-8")
    with pytest.raises(ValueError, match="curriculum is"):
        refuse_other_run(tmp_path, {"settings": {"curriculum": []}, "content": {}})
