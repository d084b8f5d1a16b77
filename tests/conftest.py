import gc
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the network
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin make a busy machine many times slower

import numpy as np
import pytest
import torch
from filelock import FileLock
from helpers import slow_marks
from helpers.brivl import tiny_language
from helpers.training.tiny_trainer import build_trainer
from wenlan.analysis.plots.fonts import _open_fonts
from xdist.scheduler import LoadFileScheduling

torch.set_num_threads(1)


# Files of few and long tests, which any worker may take one by one, before all others, whose tests share what they
# prepared. The first trains `quickstart_folder`; the other workers do what does not need it meanwhile.
LONG = (
    "tests/test_documents.py::test_commands_and_snippets_run_from_top_to_bottom[README.md]",
    "tests/training/checkpoints/test_kill_resume.py::",
    "tests/test_documents.py::",
)


def pytest_collection_finish():
    """Keeps the garbage collection, which every training begins with, from looking at all that is imported: seconds."""
    gc.collect()
    gc.freeze()


class LongTestsFirst(LoadFileScheduling):
    def _split_scope(self, nodeid):
        return nodeid if nodeid.startswith(LONG) else super()._split_scope(nodeid)

    def _assign_work_unit(self, node):
        first = min(self.workqueue, key=lambda scope: [not scope.startswith(prefix) for prefix in LONG])
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return LongTestsFirst(config, log) if config.option.dist == "loadfile" else None


def pytest_configure(config):
    config.pluginmanager.register(slow_marks)
    config.pluginmanager.register(tiny_language)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def quickstart_folder(tmp_path_factory):
    """What `wenlan quickstart` writes, with fewer steps and views: trained enough to be far above chance."""
    from wenlan.demos.brivl import run_quickstart

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # all workers use the one that the first of them trains
    folder, trained = root / "runs" / "quickstart", root / "quickstart is trained"
    with FileLock(root / "quickstart.lock"):
        if not trained.exists():
            torch.set_num_threads(2)
            run_quickstart(folder, "brivl_tiny_scratch", {"max_steps": 150, "cached_views": 1, "disable_tqdm": True})
            torch.set_num_threads(1)
            trained.touch()
    return folder


CLASSES, WIDTH = 5, 12


@pytest.fixture(scope="session")
def small_tokenizer():
    from wenlan.processing import load_small_tokenizer

    return load_small_tokenizer()


@pytest.fixture
def make_image():
    """Makes rows in the form of `wenlan.data.read_regions`, of an image of 100 x 200 pixels, different by number."""

    def make(number: int, count: int = 4, width: int = WIDTH, **changes) -> dict:
        rng = np.random.default_rng(number)
        corner = rng.uniform(0, 50, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (count, 2))], axis=1).astype(np.float32)
        probs = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32)
        features = rng.random((count, width)).astype(np.float16)
        row = {"image_id": f"image{number}", "image_height": 100, "image_width": 200, "boxes": boxes}
        return row | {"features": features, "class_probs": probs, "background_index": 0} | changes

    return make


@pytest.fixture
def make_corpus(make_image, small_tokenizer):
    """Makes a corpus of images with 2 to 9 regions, each with a caption in every language given."""
    from wenlan.data import MLMMCorpus

    words = ("cat", "dog", "key", "red", "tiger and hammer", "two drums")

    def make(size: int = 20, languages: tuple[str, ...] = ("en", "de"), **options) -> MLMMCorpus:
        rows = [make_image(number, count=2 + number % 8) for number in range(size)]
        captions = {
            language: (range(size), [f"{language} {number}: {words[number % 6]}" for number in range(size)])
            for language in languages
        }
        return MLMMCorpus(rows, captions, small_tokenizer, **options)

    return make


@pytest.fixture
def only_pillow(monkeypatch):
    """As if no package with fonts were installed."""
    monkeypatch.setattr("wenlan.analysis.plots.fonts.find_spec", lambda name: None)
    _open_fonts.cache_clear()
    yield
    _open_fonts.cache_clear()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A folder with checkpoint-2 and checkpoint-4. Not to be changed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoints")
    build_trainer(folder).train()
    return folder


@pytest.fixture
def own_checkpoints(checkpoints, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(checkpoints, tmp_path / "run")
