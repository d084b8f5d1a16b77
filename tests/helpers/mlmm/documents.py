"""The files that docs/mlmm.md assumes: trained models, a corpus with its recipe, checkpoints of others."""

import json

import torch
from helpers.mlmm.corpus_files import write_corpus
from helpers.mlmm.folder import write_model
from helpers.mlmm.golden import Golden
from helpers.mlmm.golden_files import write_golden
from helpers.training.recipes import SMALL_MLMM, write_recipe
from wenlan.modeling_mlmm import MLMMForPreTraining

SMALL_RUN = {"token_budget": 256, "use_cpu": True, "disable_tqdm": True, "test_examples": 4, "logging_steps": 1}


def write_mlmm_files(folder):
    """Writes them with the names of the document; models have random weights."""
    write_model(folder / "runs" / "mlmm_tiny", MLMMForPreTraining)
    write_model(folder / "runs" / "mlmm_vqa")
    (folder / "runs" / "demo_mlmm").mkdir()
    for part, model in {"mlmm": "mlmm_tiny", "vqa": "mlmm_vqa"}.items():
        (folder / "runs" / "demo_mlmm" / part).symlink_to(folder / "runs" / model)
    (folder / "runs" / "demo_mlmm" / "detector").symlink_to(folder / "runs" / "mlmm_tiny-detector")
    write_my_corpus(folder)
    write_golden(folder, "uc2_tiny").rename(folder / "uc2.pt")
    (folder / "tokenizer").rename(folder / "xlm-roberta-base")
    golden = Golden("uc2_tiny")
    torch.save(golden.checkpoint("pretrain", "vqa"), folder / "uc2_vqa.pt")
    answers = {f"answer {index}": index for index in range(len(golden.tensors["vqa/vqa_output.3.bias"]))}
    (folder / "ans2label.json").write_text(json.dumps(answers), "utf-8")


def write_my_corpus(folder):
    """Writes regions, captions and a recipe that is done in a second."""
    write_corpus(folder / "my_train", 12)
    write_corpus(folder / "my_test", 6, first=100)
    fields = {"max_steps": 2, "output_dir": "runs/my_mlmm", "detector": None, "model_config": SMALL_MLMM}
    for name, corpus in (("", "my_train"), ("test_", "my_test")):
        fields |= {f"{name}{part}": str(folder / corpus / part) for part in ("regions", "captions")}
    write_recipe(folder / "my_mlmm.yaml", "mlmm_tiny", **SMALL_RUN, **fields)


__all__ = ["write_mlmm_files"]
