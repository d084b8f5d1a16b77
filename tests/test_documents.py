"""Every command and snippet of the documents runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from wenlan.data import load_emoji7

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "README.zh.md", "MODEL_CARD.md", "docs/training.md", "data/emoji7/README.md"]
BLOCK = re.compile(r"```(python|bash)\n(.*?)```", re.DOTALL)
# A training command runs for one step here.
SMOKE = "--max_steps 1 --cached_views 0 --per_device_train_batch_size 4 --disable_tqdm true --use_cpu true"


def blocks(language):
    return [
        pytest.param(code, id=f"{document}-{number}")
        for document in DOCUMENTS
        for number, (kind, code) in enumerate(BLOCK.findall((ROOT / document).read_text("utf-8")))
        if kind == language
    ]


@pytest.fixture
def users_folder(quickstart_folder, tmp_path, monkeypatch):
    """A working folder as the documents assume it: a trained model in runs/, some pictures, pairs of one's own."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(quickstart_folder)
    (tmp_path / "photos").mkdir()
    rows = load_emoji7()["test"].select(range(6))
    lines = []
    for index, row in enumerate(rows):
        row["image"].convert("RGBA").save(tmp_path / "photos" / f"{index}.png")
        lines.append(f'{{"image": "{index}.png", "text": "{row["name_zh"]}"}}')
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    rows[0]["image"].save(tmp_path / "cat.png")
    (tmp_path / "sentences.txt").write_text("猫\n红色的心\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippet_runs(code, users_folder):
    exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("bash"))
def test_command_runs(code, users_folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for line in filter(None, (line.split("#")[0].strip() for line in code.splitlines())):
        words = shlex.split(line)
        if words[0] == "make":  # the two set-up commands: this very run is one of them, so only what they call
            subprocess.run(["make", "--dry-run", "--always-make", "-C", ROOT, *words[1:]], check=True)
            continue
        if words[:2] == ["wenlan", "pretrain-brivl"]:
            line += f" {SMOKE}"
        subprocess.run(line, shell=True, check=True, env=os.environ | {"PATH": path})


def test_readme_names_both_commands_and_ci_runs_the_second():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in readme
    assert "make test" in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pictures_and_local_links_of_the_documents_exist(document):
    text = (ROOT / document).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []
