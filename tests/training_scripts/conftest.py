import shutil

import pytest
import torch
from tiny_trainer import build_trainer


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
