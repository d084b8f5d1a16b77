"""Runs that began when parameters which no loss reaches were still listed in the optimizer go on."""

import pytest
import torch
from helpers.mlmm.tiny import labels_for, tiny_batch, tiny_config
from helpers.perturb import perturb
from transformers import TrainingArguments
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval, MLMMForVisualQuestionAnswering
from wenlan.training.checkpoints.atomic_trainer import AtomicCheckpointTrainer
from wenlan.training.vqa.trainer import VQATrainer

MODELS = {MLMMForVisualQuestionAnswering: VQATrainer, MLMMForImageTextRetrieval: AtomicCheckpointTrainer}


def build(model_class, folder):
    batch = tiny_batch() | labels_for(model_class)
    rows = [{name: value[index] for name, value in batch.items()} for index in range(3)]
    args = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=3,
        max_steps=4,
        save_steps=2,
        learning_rate=1e-2,
        weight_decay=0.1,
        train_sampling_strategy="sequential",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    return MODELS[model_class](perturb(model_class(tiny_config())), args, train_dataset=rows)


@pytest.mark.parametrize("model_class", MODELS)
@pytest.mark.parametrize("is_older", [True, False])
def test_run_goes_on_as_if_it_had_never_stopped(model_class, is_older, tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        if is_older:
            older.setattr(model_class, "_unused_parameters", ())
        whole = build(model_class, tmp_path)
        whole.train()
    saved = torch.load(tmp_path / "checkpoint-2" / "optimizer.pt")
    resumed = build(model_class, tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    listed = sum(len(group["params"]) for group in saved["param_groups"])
    assert listed - sum(len(group["params"]) for group in resumed.optimizer.param_groups) == int(is_older)
    for (name, one), other in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_optimizer_of_another_model_is_still_refused(tmp_path):
    build(MLMMForVisualQuestionAnswering, tmp_path).train()
    file = tmp_path / "checkpoint-2" / "optimizer.pt"
    state = torch.load(file)
    state["param_groups"][1]["params"] += [998, 999]
    torch.save(state, file)
    with pytest.raises(ValueError, match="is another one"):
        build(MLMMForVisualQuestionAnswering, tmp_path).train(resume_from_checkpoint=str(file.parent))
