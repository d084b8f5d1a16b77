"""transformers' own test mixins, from its source distribution or a clone: the folder that HF_TESTS names.

The source distribution leaves out the folders below `tests`; what the mixins import from there and our classes do not
need (export, generation) is empty then. `unittest` runs `ModelCase` and the mixins as they stand.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig

PACKAGE = "transformers_tests"
LEFT_OUT: dict[str, dict[str, Any]] = {
    f"{PACKAGE}.exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    f"{PACKAGE}.generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    f"{PACKAGE}.utils.test_configuration_utils": {"config_common_kwargs": {}},
    "fetch_hub_objects_for_ci": {"url_to_local_path": str},
}


def load_mixin(module: str, name: str) -> Any:
    """Returns a class of a file in the folder `tests` of transformers; without HF_TESTS the calling file is skipped."""
    source = os.environ.get("HF_TESTS")
    if source is None:
        pytest.skip("HF_TESTS names no source distribution of transformers", allow_module_level=True)
    folder = Path(source) / "tests"
    if not (folder / f"{module}.py").is_file():
        raise FileNotFoundError(f"HF_TESTS={source} holds no tests/{module}.py: unpack transformers' source there.")
    if PACKAGE not in sys.modules:
        _add_module(PACKAGE, {"__path__": [str(folder)]})
        sys.path.append(str(Path(source) / "utils"))
        for left_out, content in LEFT_OUT.items():
            parent = left_out.rpartition(".")[0]
            path = folder.joinpath(*left_out.split(".")[1:]).with_suffix(".py")
            if not path.is_file() and importlib.util.find_spec(parent or left_out) is None:
                if parent:
                    _add_module(parent, {"__path__": []})
                _add_module(left_out, content)
    return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)


def _add_module(name: str, content: dict[str, Any]) -> None:
    sys.modules[name] = module = ModuleType(name)
    vars(module).update(content)


class ModelTester:
    """What the mixins ask of a model: a configuration and a batch, made anew each time, and their sizes."""

    is_training = True
    batch_size = 3

    def __init__(
        self, make_config: Callable[[], PreTrainedConfig], make_inputs: Callable[[], dict[str, Any]], **sizes: Any
    ) -> None:
        self.make_config, self.make_inputs = make_config, make_inputs
        vars(self).update(sizes)

    def get_config(self) -> PreTrainedConfig:
        return self.make_config()

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        torch.manual_seed(0)
        return self.make_config(), self.make_inputs()
