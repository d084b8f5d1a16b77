import pytest
from wenlan.processing.regions.detectron2_interop import yaml_loader as detectron2_yaml
from wenlan.processing.regions.detectron2_interop.yaml_loader import read_detectron2_yaml


def read(folder, text, name="config.yaml"):
    (folder / name).write_text(text)
    return read_detectron2_yaml(folder / name)


def test_tags_of_plain_python_values_are_read(tmp_path):
    text = "A:\n  B: !!python/tuple [0.5, 1]\n  C: !!python/unicode 'x'\n  D: [!!python/tuple [1, 2]]\n"
    assert read(tmp_path, text) == {"A": {"B": [0.5, 1], "C": "x", "D": [[1, 2]]}}


def test_tuples_in_text_are_read_as_detectron2_does(tmp_path):
    assert read(tmp_path, 'A: (1.0, 2.0)\nB: "[[4, 8]]"\nC: (not a tuple\nD: "a.pth"\n') == {
        "A": [1.0, 2.0],
        "B": [[4, 8]],
        "C": "(not a tuple",
        "D": "a.pth",
    }


def test_names_are_in_capitals_whatever_the_file_has(tmp_path):
    assert read(tmp_path, "model:\n  pixel_std: [1, 1, 1]\n") == {"MODEL": {"PIXEL_STD": [1, 1, 1]}}


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch code_ran']",
        "!!python/object/apply:eval ['[1, 2]']",
        "!!python/object/new:os.system ['touch code_ran']",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/object:builtins.dict {}",
    ],
)
def test_tag_that_could_run_code_is_refused_by_name_and_line(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)!!python/(object|name|module).*could run code.*line 2"):
        read(tmp_path, f"A: 1\nB: {value}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_values_go_over_those_of_the_base(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "c4.yaml").write_text("MODEL:\n  RPN: {A: 1, B: 2}\n  DEPTH: 50\n")
    text = '_BASE_: "base/c4.yaml"\nMODEL:\n  RPN: {B: 3}\n'
    assert read(tmp_path, text) == {"MODEL": {"RPN": {"A": 1, "B": 3}, "DEPTH": 50}}


def test_missing_base_is_named_with_the_file_that_wants_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml, the _BASE_ of .*config\.yaml"):
        read(tmp_path, "_BASE_: gone.yaml\n")


def test_file_that_is_its_own_base_is_refused(tmp_path):
    with pytest.raises(ValueError, match="its own _BASE_"):
        read(tmp_path, "_BASE_: config.yaml\n")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    "text", [BOMB, "A: &a [*a]\n", "A: [1, 2", "- 1\n- 2\n", "", "\x00", "A: " + "[" * 600, "A: *b"]
)
def test_text_that_is_no_configuration_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match=r"config\.yaml (cannot be read|is no configuration)"):
        read(tmp_path, text)


def test_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(detectron2_yaml, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="above the limit of 10"):
        read(tmp_path, "A: 1\nB: 2\nC: 3\n")
