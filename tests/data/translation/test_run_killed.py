"""`wenlan translate-captions` as a process of its own, killed with SIGKILL, stopped with Ctrl-C, and started again."""

import json
import signal

import pytest
import torch
from helpers.stopped_command import StoppedCommand
from helpers.training.tiny_translators import english_captions, save_nllb_of_words
from wenlan.data.translation.run import ModelChoice, translate_captions

pytestmark = pytest.mark.slow
COUNT, SHARD_SIZE = 900, 10
SHARDS = COUNT // SHARD_SIZE


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """An undisturbed run, and one that was killed, then interrupted, then left alone."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("translate")
    model = save_nllb_of_words(folder / "model")
    rows = [{"image": f"{number}.png", "text": text} for number, text in enumerate(english_captions(COUNT))]
    source = folder / "pairs.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    choice = ModelChoice(model, device="cpu")
    translate_captions(source, folder / "whole", model=choice, languages=["de"], shard_size=SHARD_SIZE)
    options = ["--languages", "de", "--shard-size", str(SHARD_SIZE), "--device", "cpu", "--model", model]
    arguments = ["translate-captions", source, "--output", folder / "out", *options]
    runs = StoppedCommand(arguments, lambda: [*(folder / "out").glob("shards/de/translations-*.parquet")])
    found = {"rows": rows, "whole": folder / "whole", "out": folder / "out"}
    found["killed"] = runs.stop(folder / "1.txt", signal.SIGKILL, 5)
    found["after_kill"] = runs.shards()
    (folder / "out" / "shards" / "de" / ".saving-1-translations-00050-of-00090.parquet").write_bytes(b"half a shard")
    found["interrupted"] = runs.stop(folder / "2.txt", signal.SIGINT, 5)
    found["after_interrupt"], found["message"] = runs.shards(), (folder / "2.txt").read_text()
    found["finished"] = runs.finish(folder / "3.txt")
    found["after_finish"], found["report"] = runs.shards(), (folder / "3.txt").read_text()
    return found


def test_both_stops_came_in_the_middle(outcome):
    assert len(outcome["rows"]) == COUNT
    assert outcome["killed"] == -signal.SIGKILL
    assert 5 <= len(outcome["after_kill"]) < len(outcome["after_interrupt"]) < SHARDS


def test_complete_shards_are_kept(outcome):
    after = outcome["after_finish"]
    assert all(after[name] == data for name, data in outcome["after_kill"].items())
    assert all(after[name] == data for name, data in outcome["after_interrupt"].items())


def test_files_equal_those_of_an_undisturbed_run_bit_by_bit(outcome):
    assert outcome["finished"] == 0, outcome["report"]
    assert files(outcome["out"]) == files(outcome["whole"])


def test_no_row_is_lost_and_none_is_there_twice(outcome):
    lines = (outcome["out"] / "captions_en.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == outcome["rows"]
    german = json.loads((outcome["out"] / "report.json").read_text("utf-8"))["languages"]["de"]
    assert (german["rows_in"], german["captions_in"]) == (COUNT, COUNT)
    assert german["captions_out"] + sum(german["counts"].values()) == COUNT
    assert german["captions_out"] > COUNT / 2


def test_interrupt_ends_with_130_and_says_how_to_go_on(outcome):
    assert outcome["interrupted"] == 130
    assert "To resume: wenlan translate-captions" in outcome["message"]
    assert "Traceback" not in outcome["message"]
