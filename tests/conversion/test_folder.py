"""Steps that every conversion takes."""

from collections import Counter

import pytest
from transformers import BertConfig, BertModel
from wenlan.conversion.folder import list_dropped, name_file, refuse_existing, write_folder


@pytest.fixture(scope="module")
def model():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return BertModel(BertConfig(vocab_size=10, **sizes))


def write(folder, model, check):
    return write_folder(
        folder,
        model,
        lambda unfinished: (unfinished / "processor_config.json").write_text("{}"),
        check,
        summary=[", checked.", "Left out: nothing."],
        following="wenlan zero-shot",
    )


def test_folder_is_written_checked_and_summed_up(model, tmp_path, capsys):
    seen = []
    folder = write(tmp_path / "out", model, lambda unfinished: seen.extend(path.name for path in unfinished.iterdir()))
    assert {"config.json", "model.safetensors", "processor_config.json"} <= {path.name for path in folder.iterdir()}
    assert {"config.json", "processor_config.json"} <= set(seen)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"BertModel of {model.num_parameters():,} parameters, checked."
    assert second == "Left out: nothing."
    assert last == f"The model is in {folder}. Next: wenlan zero-shot"


def test_folder_that_fails_its_check_is_not_there(model, tmp_path, capsys):
    def check(folder):
        raise ValueError("another embedding")

    with pytest.raises(ValueError, match="another embedding"):
        write(tmp_path / "out", model, check)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["file", "full"])
def test_what_is_in_the_way_is_refused(name, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match=f"{name} exists already"):
        refuse_existing(tmp_path / name)


def test_new_or_empty_folder_is_accepted(tmp_path):
    (tmp_path / "empty").mkdir()
    refuse_existing(tmp_path / "empty")
    refuse_existing(tmp_path / "new")


def test_value_errors_name_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"a\.pth: no weights"), name_file(tmp_path / "a.pth"):
        raise ValueError("no weights")


def test_dropped_entries_are_listed_by_kind():
    assert list_dropped(Counter(b=1, a=2)) == "Left out as not needed: 2 of a, 1 of b."
    assert list_dropped(Counter()) == "Left out as not needed: nothing."


def test_line_about_dropped_entries_stays_short_and_printable():
    assert (
        list_dropped(Counter({"queue": 4, "a\x1b[31m": 1})) == "Left out as not needed: 1 of 'a\\x1b[31m', 4 of queue."
    )
    line = list_dropped(Counter({f"entry {index:04}": 1 for index in range(3000)}))
    assert line.endswith("1 of entry 0019 and 2,980 kinds more.")
