"""A checkpoint with momentum towers goes on as the original's training did: the golden trace through a folder."""

import pytest
import torch
from helpers.brivl.golden import our_config, read_golden
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from wenlan.conversion.brivl import build_config, convert_brivl
from wenlan.modeling_brivl import BriVLForPreTraining, MomentumQueueCallback

TENSORS, META = read_golden("momentum")
INPUTS = {"pixel_values": "pixel_values", "boxes": "boxes", "box_mask": "box_mask", "input_ids": "input_ids"}
INPUTS |= {"attention_mask": "token_mask"}


class Rows(Dataset):
    def __init__(self):
        self.indices = [index for batch in META["batches"] for index in batch]

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        return {ours: TENSORS[f"io.{golden}"][self.indices[i]] for ours, golden in INPUTS.items()}


def write_original(folder):
    """Writes the state before the first step as `VL_model.state_dict()` has it, and the sizes; returns the options."""
    state = {key.removeprefix("init."): tensor for key, tensor in TENSORS.items() if key.startswith("init.")}
    for tower in ("imgencoder", "textencoder"):
        copies = {key.replace(f".{tower}.", f".{tower}_mom."): x for key, x in state.items() if f".{tower}." in key}
        state |= copies
    torch.save(state, folder / "VL_model.pth")
    (folder / "text").mkdir()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"[unused{i}]" for i in range(1000))]
    (folder / "text" / "vocab.txt").write_text("\n".join(names[: META["bert"]["vocab_size"]]), "utf-8")
    our_config(META).to_json_file(folder / "config.json")
    return {"config_file": folder / "config.json", "text_folder": folder / "text"}


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    options = write_original(folder)
    convert_brivl(folder / "VL_model.pth", folder / "out", with_momentum=True, **options)
    model, found = BriVLForPreTraining.from_pretrained(folder / "out"), []
    model.register_forward_hook(lambda module, inputs, output: found.append(output.loss.item()))
    args = TrainingArguments(
        output_dir=folder / "run",
        per_device_train_batch_size=4,
        max_steps=META["steps"],
        max_grad_norm=0,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=META["sgd_lr"])
    callbacks = [MomentumQueueCallback()]
    Trainer(model, args, train_dataset=Rows(), callbacks=callbacks, optimizers=(optimizer, None)).train()
    return found


def test_losses_of_the_steps_that_follow_are_those_of_the_original(losses):
    expected = [step["loss"] for step in META["traces"]["train"]["steps"]]
    assert losses == pytest.approx(expected, abs=1e-4, rel=0)


@pytest.mark.parametrize(("trains", "expected"), [(True, True), (False, False)])
def test_batch_norms_train_as_the_original_unless_they_are_off(trains, expected, tmp_path):
    config = our_config(META)
    config.vision_config.train_batch_norm = trains
    config.to_json_file(tmp_path / "config.json")
    built = build_config(None, tmp_path / "config.json", None, with_momentum=True)
    assert built.vision_config.train_frozen_batch_norm is expected
    alone = build_config(None, tmp_path / "config.json", None, with_momentum=False)
    assert not alone.vision_config.train_frozen_batch_norm


@pytest.mark.parametrize("variant", ["1.0", "nmi"])
def test_variants_train_their_batch_norms_too(variant):
    assert build_config(variant, None, None, with_momentum=True).vision_config.train_frozen_batch_norm
    assert not build_config(variant, None, None, with_momentum=False).vision_config.train_frozen_batch_norm
