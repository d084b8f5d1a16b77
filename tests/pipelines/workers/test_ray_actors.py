import os
import sys
from functools import partial
from pathlib import Path

import pytest
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.paths import ROOT
from helpers.worker_tasks import Worker
from wenlan.pipelines.workers.ray_actors import connected
from wenlan.pipelines.workers.run_tasks import run_tasks
from wenlan.retrieval import embed_to_parquet


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two CPUs on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests"))  # the workers of the tests
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: other programs would come first
        with connected("local", 2) as ray:
            yield ray


@pytest.mark.slow
def test_actors_run_each_task_once_also_when_one_is_killed_in_the_middle(cluster, tmp_path):
    tasks = [*range(12), "die once", *range(12, 24)]
    results = sorted(run_tasks(partial(Worker, tmp_path), tasks, ray="local", num_proc=2))
    assert [position for position, _ in results] == [*range(25)]
    assert [result for _, result in results[:12] + results[13:]] == [number**2 for number in range(24)]
    assert len([*tmp_path.glob("opened-*")]) == 3  # two, and one in place of that which died
    assert results[12][1] != os.getpid()
    assert cluster.util.get_node_ip_address() == "127.0.0.1"  # nobody else can connect


@pytest.mark.slow
def test_embeddings_have_the_same_bytes_as_those_of_one_process(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # actors find relative paths
    save_tiny_folder(Path("model"))
    Path("s.txt").write_text("\n".join(SENTENCES), "utf-8")
    for name, ray in (("one", None), ("ray", "local")):
        embed_to_parquet("model", Path("s.txt"), Path(f"{name}.parquet"), shard_size=2, ray=ray, num_proc=None)
    assert Path("ray.parquet").read_bytes() == Path("one.parquet").read_bytes()


@pytest.mark.slow
def test_error_of_an_actor_arrives_with_its_class_and_text(cluster, tmp_path):
    with pytest.raises(ValueError, match=r"^a bad value$"):
        list(run_tasks(partial(Worker, tmp_path), [1, "value"], ray="local"))
    assert list(run_tasks(partial(Worker, tmp_path), [], ray="local")) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"No Ray cluster answers at '127\.0\.0\.1:1' .*refused.*give local"),
        ("ray://127.0.0.1:1", r"No Ray cluster answers at 'ray://127\.0\.0\.1:1'"),
        ("everywhere", "--ray 'everywhere': give local, auto, HOST:PORT or ray://HOST:PORT"),
        ("http://127.0.0.1:1", "give local, auto, HOST:PORT"),
        ("host:port", "give local, auto, HOST:PORT"),
    ],
)
def test_address_without_a_cluster_is_named(address, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        list(run_tasks(partial(Worker, tmp_path), [1, 2], ray=address))


def test_missing_ray_is_named_with_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[ray\]'"):
        list(run_tasks(partial(Worker, tmp_path), [1, 2], ray="local"))
