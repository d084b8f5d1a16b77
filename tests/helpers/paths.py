"""Where things are: the tests' fixtures, and what a process of its own needs on its path to import the helpers."""

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
PATH = os.pathsep.join([str(ROOT), str(TESTS)])
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": PATH}
