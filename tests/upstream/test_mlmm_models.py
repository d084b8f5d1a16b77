"""What transformers' common tests ask of its own models, of every MLMM model."""

import pytest
import torch
from accelerate.utils import compute_module_sizes
from helpers import forked
from helpers.mlmm import train_on_ranks
from helpers.mlmm.tiny import MODELS, labels_for, tiny_batch, tiny_config
from helpers.perturb import perturb
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments
from wenlan.modeling_mlmm import MLMMForImageTextRetrieval, MLMMForMaskedLM, MLMMForPreTraining, MLMMModel

every_model = pytest.mark.parametrize("model_class", MODELS)
every_head = pytest.mark.parametrize("model_class", MODELS[1:])
MASK, POOLER = "mlmm.region_embeddings.mask_feature", {"mlmm.pooler.dense.weight", "mlmm.pooler.dense.bias"}
ITM_HEAD = {"itm_head.weight", "itm_head.bias"}


def build(model_class, **overrides):
    return perturb(model_class(tiny_config(**overrides)))


@torch.no_grad()
def run(model, *args, **inputs):
    return model(*args, **inputs)


def assert_same(actual, expected, **tolerance):
    assert list(actual) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, **({"atol": 1e-6, "rtol": 0} | tolerance))


@every_model
def test_fused_attention_has_no_attentions_and_changes_nothing_else(model_class):
    model, batch = build(model_class, attn_implementation="sdpa", compact_batches=False), tiny_batch()
    output = run(model, **batch, output_attentions=True)
    assert output.attentions == ()
    assert_same({name: value for name, value in output.items() if name != "attentions"}, run(model, **batch))


@every_model
def test_eager_attention_has_those_of_every_layer(model_class):
    model = build(model_class, attn_implementation="eager")
    output = run(model, **tiny_batch(), output_attentions=True, output_hidden_states=True)
    assert [tuple(one.shape) for one in output.attentions] == [(3, 3, 13, 13)] * 2
    assert [tuple(one.shape) for one in output.hidden_states] == [(3, 13, 24)] * 3
    model.config.output_attentions = True
    assert len(run(model, **tiny_batch()).attentions) == 2


@every_model
def test_tuple_and_dictionary_hold_the_same(model_class):
    model = build(model_class, attn_implementation="eager")
    for options in ({}, {"output_hidden_states": True}, {"output_attentions": True, "output_hidden_states": [0, -1]}):
        inputs = tiny_batch() | labels_for(model_class) | options
        expected, actual = run(model, **inputs).to_tuple(), run(model, **inputs, return_dict=False)
        assert len(actual) == len(expected)
        torch.testing.assert_close(actual, expected)


@every_model
def test_word_embeddings_can_be_given_in_place_of_the_words(model_class):
    model, batch = build(model_class), tiny_batch(pad_text=2)
    embedded = dict(batch)
    embedded["inputs_embeds"] = model.get_input_embeddings()(embedded.pop("input_ids"))
    assert_same(run(model, **embedded), run(model, **batch))
    unmasked = {"inputs_embeds": embedded["inputs_embeds"][:1, :7]}
    assert_same(run(model, **unmasked), run(model, input_ids=batch["input_ids"][:1, :7]))
    with pytest.raises(ValueError, match="both given"):
        model(**batch, inputs_embeds=embedded["inputs_embeds"])
    with pytest.raises(ValueError, match=r"inputs_embeds must be \(batch, tokens, 24\), got \(3, 9, 23\)"):
        model(**embedded | {"inputs_embeds": embedded["inputs_embeds"][..., :23]})


def test_word_embeddings_are_trained_through():
    model, batch = build(MLMMModel), tiny_batch()
    embedded = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_()
    model(inputs_embeds=embedded, **batch).pooler_output.sum().backward()
    assert embedded.grad[batch["attention_mask"].bool()].abs().sum(dim=-1).min() > 0


def test_words_that_are_to_be_filled_are_needed():
    regions = {name: value for name, value in tiny_batch().items() if name.startswith("region")}
    with pytest.raises(ValueError, match="neither input_ids nor inputs_embeds"):
        build(MLMMForMaskedLM)(**regions)


@every_model
def test_misspelt_inputs_are_refused_and_those_of_a_processor_are_not(model_class):
    model, batch = build(model_class), tiny_batch()
    for wrong in ("region_feature", "labels_", "images"):
        with pytest.raises(TypeError, match=f"unexpected keyword arguments '{wrong}'"):
            model(**batch, **{wrong: batch["region_features"]})
    unused = {"token_type_ids": torch.zeros(3, 7, dtype=torch.long), "region_class_probs": torch.rand(3, 6, 9)}
    assert_same(run(model, **batch, **unused, num_items_in_batch=3, use_cache=False), run(model, **batch))


@every_model
@pytest.mark.parametrize("where", ["all on disk", "as much as fits"])
def test_weights_on_disk_give_the_same(model_class, where, tmp_path):
    model, batch = build(model_class), tiny_batch()
    model.save_pretrained(tmp_path / "model")
    room = {"cpu": int(0.7 * compute_module_sizes(model)[""])}
    placed = {"device_map": {"": "disk"}} if where == "all on disk" else {"device_map": "auto", "max_memory": room}
    loaded = model_class.from_pretrained(tmp_path / "model", offload_folder=tmp_path / "offload", **placed).eval()
    assert sum(parameter.is_meta for parameter in loaded.parameters()) > 20
    masked = torch.zeros(3, 6, dtype=torch.bool)
    masked[:, 1] = True
    for inputs in (batch, batch | {"masked_regions": masked}, {"input_ids": batch["input_ids"]}):
        assert_same(run(loaded, **inputs), run(model, **inputs))


def test_losses_are_the_same_by_weights_on_disk(tmp_path):
    model, inputs = build(MLMMForPreTraining), tiny_batch() | labels_for(MLMMForPreTraining)
    model.save_pretrained(tmp_path / "model")
    placed = {"device_map": {"": "disk"}, "offload_folder": tmp_path / "offload"}
    loaded = MLMMForPreTraining.from_pretrained(tmp_path / "model", **placed).eval()
    torch.testing.assert_close(run(loaded, **inputs).losses, run(model, **inputs).losses)


@every_head
def test_adapters_of_all_layers_give_the_same_merged(model_class):
    inputs = tiny_batch() | labels_for(model_class)
    options = LoraConfig(target_modules="all-linear", r=2, init_lora_weights=False)
    before = build(model_class)
    start = run(before, **inputs).loss
    model = get_peft_model(before, options).eval()
    adapted = run(model, **inputs).loss
    assert not torch.equal(adapted, start)
    torch.testing.assert_close(run(model.merge_and_unload(), **inputs).loss, adapted, atol=1e-5, rtol=1e-5)


@every_model
def test_configuration_that_asks_for_tuples_is_followed(model_class):
    model, inputs = build(model_class), tiny_batch() | labels_for(model_class)
    expected = run(model, **inputs).to_tuple()
    model.config.return_dict = False
    actual = run(model, **inputs)
    assert isinstance(actual, tuple)
    torch.testing.assert_close(actual, expected)


@every_model
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_inputs_are_cast_to_the_type_of_the_weights(model_class, dtype):
    model, batch = build(model_class).to(dtype), tiny_batch()
    words = model.get_input_embeddings()(batch["input_ids"]).detach()
    embedded = batch | {"input_ids": None, "position_ids": torch.arange(7).expand(3, 7) + 2}
    expected = run(model, **embedded, inputs_embeds=words)
    assert expected[0].isfinite().all()
    exact = {"region_features": batch["region_features"].double(), "region_boxes": batch["region_boxes"].double()}
    assert_same(run(model, **embedded | exact, inputs_embeds=words.float()), expected)


def test_pairs_are_scored_by_weights_on_disk(tmp_path):
    model, batch = build(MLMMForImageTextRetrieval), tiny_batch()
    model.save_pretrained(tmp_path / "model")
    placed = {"device_map": {"": "disk"}, "offload_folder": tmp_path / "offload"}
    loaded = MLMMForImageTextRetrieval.from_pretrained(tmp_path / "model", **placed).eval()
    with torch.no_grad():
        scores = [
            one.score_embedded(
                one.mlmm.embed_regions(batch["region_features"], batch["region_boxes"]),
                batch["region_attention_mask"].bool(),
            )
            for one in (loaded, model)
        ]
    torch.testing.assert_close(*scores)


@every_head
def test_all_that_is_not_frozen_has_a_gradient_when_layers_are_checkpointed(model_class, tmp_path):
    build(model_class).save_pretrained(tmp_path)
    frozen = {MLMMForPreTraining: set(), MLMMForMaskedLM: {MASK, *POOLER}, MLMMForImageTextRetrieval: {MASK, *ITM_HEAD}}
    gradients = []
    for checkpointing in (False, True):
        model = model_class.from_pretrained(tmp_path).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(**tiny_batch(), **labels_for(model_class)).loss.backward()
        names = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert dict(model.named_parameters()).keys() - names.keys() == frozen.get(model_class, {MASK})
        assert [name for name, parameter in names.items() if parameter.grad is None] == []
        gradients.append({name: parameter.grad for name, parameter in names.items()})
    assert_same(*gradients)


def test_tower_and_pretraining_leave_nothing_frozen_that_a_head_froze(tmp_path):
    build(MLMMForMaskedLM).save_pretrained(tmp_path)
    for model_class in (MLMMModel, MLMMForPreTraining):
        loaded = model_class.from_pretrained(tmp_path)
        assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.slow
def test_two_processes_train_every_head_with_checkpointed_layers(tmp_path):
    """With what the Trainer sets by itself: it looks for no unused parameters where layers are checkpointed."""
    forked.run_on_ranks(train_on_ranks.main, tmp_path, folder=tmp_path)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first.keys() == {model_class.__name__ for model_class in MODELS[1:]}
    for name, result in first.items():
        assert result["steps"] == 3
        assert_same(second[name]["state"], result["state"], atol=0)
        assert result["moved"] > 0.9  # fraction of the trainable tensors


@every_head
def test_trainer_counts_the_words(model_class, tmp_path):
    rows = [
        {name: value[index] for name, value in (tiny_batch() | labels_for(model_class)).items()} for index in range(3)
    ]
    args = TrainingArguments(
        output_dir=tmp_path,
        per_device_train_batch_size=3,
        max_steps=2,
        train_sampling_strategy="sequential",
        include_num_input_tokens_seen="non_padding",
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    pad = type("Tokenizer", (), {"pad_token_id": 1, "save_pretrained": lambda *_: None})()
    trainer = Trainer(build(model_class), args, train_dataset=rows, processing_class=pad)
    trainer.train()
    assert trainer.state.num_input_tokens_seen == 2 * (7 + 3 + 5)
