import os

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the network
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin make a busy machine many times slower

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def quickstart_folder(tmp_path_factory):
    """What `wenlan quickstart` writes, with fewer steps and views: trained enough to be far above chance."""
    from wenlan.quickstart import run_quickstart

    folder = tmp_path_factory.mktemp("quickstart") / "runs" / "quickstart"
    torch.set_num_threads(2)
    run_quickstart(folder, "brivl_tiny", {"max_steps": 150, "cached_views": 1, "disable_tqdm": True})
    torch.set_num_threads(1)
    return folder
