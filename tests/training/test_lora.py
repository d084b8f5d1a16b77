"""Adapters on the text encoder: alone beside an untouched base, or in both text towers of momentum pre-training."""

import sys

import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.perturb import perturb
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, Trainer, TrainingArguments
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, MomentumQueueCallback
from wenlan.training.lora import LoraArguments, add_text_lora, lora_for_fine_tuning, merge_text_lora

PAIRS = [
    {"input_ids": ids % 17, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    for ids, pixels in zip(texts(8), images(8), strict=True)
]


def collate(rows):
    """Asks `BriVLModel` for its loss too, as the documentation shows."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"return_loss": True}


def train(model, folder, resume=None, **arguments):
    defaults = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-2, "save_strategy": "no"}
    args = TrainingArguments(
        folder, use_cpu=True, report_to="none", disable_tqdm=True, remove_unused_columns=False, **(defaults | arguments)
    )
    callbacks = [MomentumQueueCallback()] if isinstance(model, BriVLForPreTraining) else []
    trainer = Trainer(model, args, train_dataset=PAIRS, eval_dataset=PAIRS, data_collator=collate, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@torch.no_grad()
def embed(model):
    output = model.eval()(**collate(PAIRS))
    return output.text_embeds, output.image_embeds


def copy_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of the model that gets adapters."""
    folder = tmp_path_factory.mktemp("base")
    save_tiny_folder(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """The trained model and the folder of its adapter."""
    torch.set_num_threads(1)
    model = lora_for_fine_tuning(AutoModel.from_pretrained(base), LoraArguments(lora_rank=4))
    folder = tmp_path_factory.mktemp("adapter")
    train(model, folder / "run")
    model.save_pretrained(folder / "adapter")
    return model, folder / "adapter"


def test_trainer_lowers_the_loss_within_the_batch(base, tmp_path):
    model = lora_for_fine_tuning(AutoModel.from_pretrained(base), LoraArguments(lora_rank=4))
    trainer = train(model, tmp_path, max_steps=30, learning_rate=3e-2, per_device_eval_batch_size=8)
    with torch.no_grad():
        start = AutoModel.from_pretrained(base).eval()(**collate(PAIRS)).loss
    assert trainer.evaluate()["eval_loss"] < start.item() - 0.3  # measured 0.59 below


def test_base_stays_as_it_was_to_the_bit(base, tuned):
    model, _ = tuned
    before = AutoModel.from_pretrained(base).state_dict()
    after = {name.replace(".base_layer", ""): tensor for name, tensor in model.get_base_model().state_dict().items()}
    assert_equal({name: after[name] for name in before}, before)


def test_only_adapters_train_and_all_of_them_moved(tuned):
    model, _ = tuned
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(trained) == 8  # two layers, query and value, A and B
    assert all("text_model.backbone" in name and "lora_" in name for name in trained)
    assert all(weight.abs().max() > 0 for weight in trained.values())


def test_adapter_is_a_small_folder_that_loads_onto_the_base(base, tuned):
    model, folder = tuned
    assert sorted(load_file(folder / "adapter_model.safetensors").values(), key=len)[-1].numel() == 4 * 20
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)
    assert_equal(embed(again), embed(model))
    assert (embed(model)[0] - embed(AutoModel.from_pretrained(base))[0]).abs().max() > 0.01


def test_auto_model_opens_the_adapter_folder(tuned):
    model, folder = tuned
    assert_equal(embed(AutoModel.from_pretrained(folder)), embed(model))


def test_merged_model_is_a_plain_one_with_the_same_embeddings(base, tuned, tmp_path):
    model, folder = tuned
    merged = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder).merge_and_unload()
    merged.save_pretrained(tmp_path)
    opened = AutoModel.from_pretrained(tmp_path)
    assert type(opened) is BriVLModel
    assert opened.state_dict().keys() == AutoModel.from_pretrained(base).state_dict().keys()
    torch.testing.assert_close(embed(opened), embed(model), atol=1e-5, rtol=0)


def test_head_trains_and_is_saved_if_asked_for(base, tmp_path):
    model = lora_for_fine_tuning(AutoModel.from_pretrained(base), LoraArguments(lora_rank=2), train_head=True)
    train(model, tmp_path / "run")
    model.save_pretrained(tmp_path / "adapter")
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors").keys()
    assert {name.removeprefix("base_model.model.") for name in names if "lora" not in name} == {
        f"text_model.encoder.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")
    }
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(base), tmp_path / "adapter")
    assert_equal(embed(again), embed(model))


def test_adapters_go_only_into_layers_that_the_configuration_trains(base):
    model = AutoModel.from_pretrained(base)
    model.text_model.config.trainable_backbone = ["layer.1"]
    names = [name for name, _ in lora_for_fine_tuning(model, LoraArguments(lora_rank=2)).named_parameters()]
    adapted = {name.split(".lora_")[0].partition("layer.")[2] for name in names if ".lora_" in name}
    assert adapted == {"1.attention.self.query", "1.attention.self.value"}


def test_adapters_train_in_an_encoder_that_was_frozen_whole_once_its_configuration_lets_them(tmp_path):
    base = BriVLModel(tiny_config(text={"trainable_backbone": []}))
    base.save_pretrained(tmp_path / "base")
    base.text_model.config.trainable_backbone = None
    model = lora_for_fine_tuning(base, LoraArguments(lora_rank=2))
    before = embed(model)
    train(model, tmp_path / "run", max_steps=2)
    after = embed(model)
    assert not torch.equal(before[0], after[0])
    model.save_pretrained(tmp_path / "adapter")
    assert_equal(
        embed(PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter")), after
    )


@pytest.mark.parametrize(
    ("changes", "trainable", "message"),
    [
        ({"lora_targets": ["q_proj"]}, None, r"\['q_proj'\] .* it has dense, key, query, value"),
        # a linear layer of BriVL's own transformer: in evaluation mode PyTorch would pass an adapter by
        ({"lora_targets": ["linear1"]}, None, r"\['linear1'\] are no linear layers of the text encoder"),
        ({"lora_targets": []}, None, "no linear layers"),
        ({}, [], r"has 4 layers called query or value, all frozen .* is \[\]\. Set that .* \[\"layer\.1\"\]: in"),
        ({"lora_rank": 0}, None, "lora_rank must be at least 1, got 0"),
    ],
)
def test_settings_that_adapt_nothing_are_refused(changes, trainable, message):
    model = BriVLModel(tiny_config(text={"trainable_backbone": trainable}))
    with pytest.raises(ValueError, match=message):
        lora_for_fine_tuning(model, LoraArguments(**{"lora_rank": 2, **changes}))


def test_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install 'wenlan\[lora\]'"):
        lora_for_fine_tuning(BriVLModel(tiny_config()), LoraArguments(lora_rank=2))


def pretraining_model(**overrides):
    """Returns the same model each time; its first text layer is a frozen trunk."""
    torch.manual_seed(5)
    model = perturb(BriVLForPreTraining(tiny_config(text={"trainable_backbone": ["layer.1"]}, **overrides)))
    model.reset_momentum_towers()
    return model


def adapted_model(**overrides):
    model = pretraining_model(**overrides)
    add_text_lora(model, LoraArguments(lora_rank=3))
    return model


@torch.no_grad()
def set_adapters(model, value=0.3):
    generator = torch.Generator().manual_seed(4)
    for name, weight in model.brivl.text_model.named_parameters():
        if ".lora_" in name:
            weight.copy_(value * torch.randn(weight.shape, generator=generator))


def text_towers(model):
    return model.brivl.text_model, model.momentum_text_model


def test_both_text_towers_start_with_the_same_adapters_and_the_same_outputs_as_before():
    before, model = pretraining_model(), adapted_model()
    query, momentum = (
        {name: weight for name, weight in tower.named_parameters() if ".lora_" in name} for tower in text_towers(model)
    )
    assert len(query) == 4
    assert_equal(momentum, query)
    assert not any(weight.requires_grad for weight in momentum.values())
    assert_equal(embed(model.brivl), embed(before.brivl))


def test_number_of_adapter_parameters_is_returned():
    model = BriVLForPreTraining(tiny_config())
    assert add_text_lora(model, LoraArguments(lora_rank=3)) == 2 * 2 * (3 * 20 + 20 * 3)


def test_momentum_adapters_move_towards_the_query_adapters():
    model = adapted_model(momentum=0.75)
    before = copy_of(model.momentum_text_model)
    set_adapters(model)
    model.update_momentum()
    query, momentum = (tower.state_dict() for tower in text_towers(model))
    names = [name for name in momentum if ".lora_" in name]
    expected = {name: 0.75 * before[name] + 0.25 * query[name] for name in names}
    torch.testing.assert_close({name: momentum[name] for name in names}, expected)


def test_shared_trunk_gives_the_loss_and_gradients_of_two_copies():
    results = []
    for fraction in (True, False):
        model = adapted_model(share_frozen_trunk=fraction)
        set_adapters(model)
        output = model(**collate(PAIRS))
        output.loss.backward()
        grads = {name: p.grad for name, p in model.brivl.text_model.named_parameters() if p.grad is not None}
        results.append((output.loss, output.text_keys, grads))
    assert any(".lora_A" in name for name in results[0][2])
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)


def test_pretraining_leaves_the_text_encoders_and_moves_the_rest(tmp_path):
    model = adapted_model(momentum=0.5)
    before = copy_of(model)
    train(model, tmp_path)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen = ("brivl.text_model.backbone.", "momentum_text_model.backbone.")
    assert {name.split(".lora_")[0] for name in moved if name.startswith(frozen)} == {
        f"{tower}encoder.layer.1.attention.self.{name}" for tower in frozen for name in ("query", "value")
    }
    for name in ("brivl.text_model.encoder.fc1.weight", "brivl.vision_model.encoder.fc1.weight"):
        assert {name, name.replace("brivl.", "momentum_")} <= moved


def test_resumed_pretraining_equals_an_uninterrupted_one(tmp_path):
    model = adapted_model(momentum=0.5)
    train(model, tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    resumed = adapted_model(momentum=0.5)
    train(resumed, tmp_path / "again", resume=str(tmp_path / "checkpoint-2"), max_steps=4)
    assert_equal(resumed.state_dict(), model.state_dict())


def test_merged_towers_have_plain_names_and_the_same_outputs(tmp_path):
    model = adapted_model()
    set_adapters(model)
    model.update_momentum()
    set_adapters(model, value=0.5)
    expected = model.eval()(**collate(PAIRS))
    merge_text_lora(model)
    model.save_pretrained(tmp_path)
    opened = BriVLForPreTraining.from_pretrained(tmp_path).eval()
    output = opened(**collate(PAIRS))
    assert opened.state_dict().keys() == pretraining_model().state_dict().keys()
    for name in ("text_embeds", "text_keys", "loss"):
        torch.testing.assert_close(output[name], expected[name], atol=1e-5, rtol=0)
    torch.testing.assert_close(embed(AutoModel.from_pretrained(tmp_path))[0], expected.text_embeds, atol=1e-5, rtol=0)


def test_adapters_can_be_added_again_after_a_merge_but_not_before():
    model = adapted_model()
    with pytest.raises(ValueError, match="has adapters already"):
        add_text_lora(model, LoraArguments(lora_rank=2))
    merge_text_lora(model)
    assert add_text_lora(model, LoraArguments(lora_rank=2)) > 0


def test_merge_without_adapters_is_refused():
    with pytest.raises(ValueError, match="no adapters"):
        merge_text_lora(pretraining_model())
