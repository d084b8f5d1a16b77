import json

import pytest
from PIL import Image
from wenlan.data import LANGUAGES
from wenlan.data.files.lock import output_lock

from wenlan.demos.mlmm import run_demo_mlmm


def test_demo_of_another_process_is_left_alone(tmp_path):
    with output_lock(tmp_path / "demo"), pytest.raises(ValueError, match="is writing into"):
        run_demo_mlmm(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_demo_goes_from_images_to_answers_and_uses_again_what_is_there(tmp_path, capsys):
    arguments = {
        "scenes": 12,
        "detector_options": ["--max_steps", "2", "--scenes", "8", "--per_device_train_batch_size", "4"],
        "pretraining_options": ["--max_steps", "4", "--test_examples", "28", "--token_budget", "512"],
        "question_options": ["--max_steps", "2", "--per_device_train_batch_size", "8"],
        "candidates": 4,
    }
    folder = run_demo_mlmm(tmp_path / "demo", **arguments)
    results = json.loads((folder / "demo.json").read_text("utf-8"))
    assert set(results["retrieval"]) == set(LANGUAGES)
    assert {name: row["count"] > 0 for name, row in results["questions"].items()} == {"en": True, "ja": True}
    assert results["pre-training"]["itm"]["all"]["count"] == 28
    assert Image.open(folder / "attention.png").width > 500
    capsys.readouterr()
    run_demo_mlmm(tmp_path / "demo", **arguments)
    assert f"Continues from {folder}/mlmm/checkpoint-4." in capsys.readouterr().out
    assert "detector" not in json.loads((folder / "demo.json").read_text("utf-8"))["minutes"]
