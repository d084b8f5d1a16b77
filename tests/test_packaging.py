"""The built wheel holds the package and its data, and nothing beside them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from helpers.paths import ROOT

OUTPUTS = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks", "runs")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Holds a copy of the source, since building writes into its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=OUTPUTS)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    isolation = ["--no-isolation"] if find_spec("setuptools") else []
    build = [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", built, built / "source"]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = built.glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


def test_wheel_installs_nothing_outside_the_package(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = [top for top in tops if top.endswith(".dist-info")]
    assert tops == {"wenlan", info}


def test_wheel_holds_every_source_file_of_the_sub_packages_and_no_tools(wheel):
    source = Path(wheel.filename).parent / "source"
    folders = [path.parent for path in source.glob("*/__init__.py")]
    files = {path.relative_to(source).as_posix() for folder in folders for path in folder.rglob("*.py*")}
    expected = {name if name.startswith("wenlan/") else f"wenlan/{name}" for name in files}
    assert len(expected) > 40
    assert expected - set(wheel.namelist()) == set()
    tools = {path.name for path in (source / "tools").glob("*.py")}
    assert len(tools) > 2
    assert [name for name in wheel.namelist() if Path(name).name in tools] == []


def test_wheel_says_that_it_is_typed(wheel):
    assert "wenlan/py.typed" in wheel.namelist()


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("data/emoji7", "*.parquet"),
        ("data/emoji7", "*.md"),
        ("evaluation/metrics/image_text_retrieval", "*.*"),
        ("evaluation/metrics/top_k_accuracy", "*.*"),
        ("evaluation/metrics/vqa_accuracy", "*.*"),
        ("processing/tokenizers/mlmm_tokenizer", "*.json"),
        ("training_scripts/recipes", "*.yaml"),
        ("data/emoji_scenes/paraphrases", "*.tsv"),
        ("data/emoji_scenes/paraphrases", "*.yaml"),
    ],
)
def test_wheel_holds_the_data_files_unchanged(wheel, folder, pattern):
    paths = list((ROOT / folder).glob(pattern))
    assert paths != []
    for path in paths:
        assert wheel.read(f"wenlan/{folder}/{path.name}") == path.read_bytes(), path.name


def test_wheel_holds_the_embedded_images_and_recipes(wheel):
    names = wheel.namelist()
    assert "wenlan/data/emoji7/concepts.parquet" in names
    assert [name for name in names if name.startswith("wenlan/training_scripts/recipes/")] != []


def test_metrics_of_the_wheel_load_without_a_network(wheel, tmp_path):
    wheel.extractall(tmp_path)
    script = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import wenlan
from wenlan.evaluation import list_metrics, load_metric
print(wenlan.__file__, *[load_metric(name).name for name in list_metrics()])
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    package = tmp_path / "wenlan" / "__init__.py"
    assert run.stdout.split() == [str(package), "image_text_retrieval", "top_k_accuracy", "vqa_accuracy"]


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE"])
def test_wheel_holds_the_legal_texts(wheel, name):
    (path,) = [path for path in wheel.namelist() if path.endswith(f"/{name}") and ".dist-info/" in path]
    assert wheel.read(path) == (ROOT / name).read_bytes()


def test_wheel_installs_the_command(wheel):
    (path,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "wenlan = wenlan.cli.main:app" in wheel.read(path).decode()


@pytest.fixture(scope="module")
def editable(built):
    """What `pip install --editable` puts into site-packages."""
    build = "from setuptools import build_meta; build_meta.build_editable('../editable')"
    (built / "editable").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=built / "source", check=True, capture_output=True)
    (path,) = (built / "editable").glob("*.whl")
    with ZipFile(path) as archive:
        archive.extractall(built / "site")
    return built


@pytest.mark.parametrize("beside", ["wenlan", "wenlan/wenlan"])
def test_folder_of_the_same_name_does_not_hide_an_editable_install(editable, tmp_path, beside):
    (tmp_path / beside).mkdir(parents=True, exist_ok=True)
    script = f"""
import site, sys
site.addsitedir({str(editable / "site")!r})
sys.path += {[path for path in sys.path if path.endswith("-packages")]}
import wenlan, wenlan.data.files.atomic as atomic
from transformers import AutoConfig
print(wenlan.__file__, atomic.__file__, AutoConfig.for_model("brivl").model_type, wenlan.BriVLModel.__name__, sep="\\n")
"""
    run = subprocess.run([sys.executable, "-S", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    source = editable / "source"
    paths = [str(source / "wenlan" / "__init__.py"), str(source / "data" / "files" / "atomic.py")]
    assert run.stdout.split() == [*paths, "brivl", "BriVLModel"]


def test_modules_of_a_checkout_run_from_its_root(editable):
    command = [sys.executable, "-m", "wenlan", "--version"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("-packages"))}
    run = subprocess.run(command, cwd=editable / "source", env=environment, capture_output=True, text=True)
    assert run.stdout.startswith("wenlan "), run.stderr
