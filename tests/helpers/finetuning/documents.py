"""The files that docs/finetuning.md assumes: captions as published, and recipes that are done in seconds."""

from helpers.finetuning.caption_files import write_coco, write_coco_cn, write_karpathy, write_multi30k
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from helpers.finetuning.vqa_sample import write_sample
from helpers.mlmm.corpus_files import write_corpus
from helpers.training.recipes import write_recipe

SMALL_RUN = {"use_cpu": True, "disable_tqdm": True, "max_steps": 2, "per_device_train_batch_size": 4}
EVALUATION = {"eval_steps": 2, "save_steps": 2}


def write_finetuning_files(folder):
    """Writes them with the names of the document; models have random weights."""
    write_multi30k(folder / "multi30k")
    write_coco(folder / "STAIR")
    write_karpathy(folder / "dataset_coco.json")
    write_coco_cn(folder / "COCO-CN")
    paths = {"init_from": save_pretrained_mlmm(folder / "retrieval_start")}
    for prefix, count, first in (("", 12, 0), ("validation_", 6, 100), ("test_", 6, 200)):
        found = write_corpus(folder / f"{prefix}corpus", count, first=first)
        paths |= dict(zip((f"{prefix}regions", f"{prefix}captions"), found, strict=True))
    run = {**SMALL_RUN, **EVALUATION, "num_train_epochs": None, "output_dir": "runs/my_retrieval"}
    write_recipe(folder / "my_retrieval.yaml", "retrieval_tiny", **paths, **run)
    (folder / "vqa_sample").mkdir()
    fields = write_sample(folder / "vqa_sample")
    write_recipe(folder / "my_vqa.yaml", "vqa_tiny", **fields, **SMALL_RUN, output_dir="runs/my_vqa")


__all__ = ["write_finetuning_files"]
