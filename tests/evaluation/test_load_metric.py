import os
import re
import shutil
import subprocess
import sys

import evaluate
import pytest
import yaml
from helpers.paths import ROOT
from wenlan.evaluation import list_metrics, load_metric

FOLDER = ROOT / "evaluation" / "metrics"
SHARED = {"caption_recall.py": "retrieval/recall.py", "vqa_scores.py": "vqa/accuracy.py"}
NAMES = ["image_text_retrieval", "top_k_accuracy", "vqa_accuracy"]

ON_ITS_OWN = """
import sys
sys.modules["wenlan"] = None  # any import of it fails
import evaluate
scores = {"predictions": [[1.0]], "references": [0]}
print(evaluate.load("image_text_retrieval").compute(**scores)["mean_recall"])
print(evaluate.load("top_k_accuracy").compute(**scores)["top-1"])
print(evaluate.load("vqa_accuracy").compute(predictions=["a"], references=[["a"] * 10])["overall"])
"""


def test_every_folder_is_a_metric():
    assert list_metrics() == NAMES == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_metric_loads_offline_and_says_what_it_is(name, tmp_path):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    metric = load_metric(name, cache_dir=str(tmp_path))
    assert isinstance(metric, evaluate.Metric)
    assert (metric.name, metric.module_type) == (name, "metric")
    assert "%" in metric.description or "percent" in metric.description
    assert metric.citation.strip().startswith("@")
    assert {"Args:", "Returns:"} <= set(metric.inputs_description.split())


def test_unknown_metric_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no metric 'accuracy'.*image_text_retrieval, top_k_accuracy, vqa_accuracy"):
        load_metric("accuracy")


@pytest.mark.slow
def test_folders_work_as_repositories_on_their_own(tmp_path):
    """As on the Hub: plain files, the package absent, a fresh cache."""
    shutil.copytree(FOLDER, tmp_path / "metrics")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", ON_ITS_OWN], cwd=tmp_path / "metrics", env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["100.0"] * 3


@pytest.mark.parametrize("name", NAMES)
def test_code_shared_with_the_package_is_written_once(name):
    shared = [path for path in (FOLDER / name).glob("*.py") if path.stem != name]
    assert shared != []
    assert [path.resolve() for path in shared] == [ROOT / "evaluation" / SHARED[path.name] for path in shared]


@pytest.mark.parametrize("name", NAMES)
def test_card_has_the_front_matter_of_the_hub(name):
    _, front, text = (FOLDER / name / "README.md").read_text("utf-8").split("---\n", 2)
    fields = yaml.safe_load(front)
    assert {"evaluate", "metric"} <= set(fields["tags"])
    assert fields["sdk"] == "static"
    assert f"# Metric card: {name}" in text


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("image_text_retrieval", ["66.6", "100.0", "83.3"]),
        ("top_k_accuracy", ["'top-1': 33.3", "'top-2': 100.0", "'chance_top-1': 33.3"]),
        ("vqa_accuracy", ["'overall': 80.0", "'number': 100.0", "'other': 60.0", "'overall': 100.0"]),
    ],
)
def test_code_of_the_card_runs(name, printed, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    card = (FOLDER / name / "README.md").read_text("utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL)), {})
    output = capsys.readouterr().out
    assert [figure for figure in printed if figure not in output] == []
