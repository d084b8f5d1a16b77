"""Tower, heads, losses and gradients reproduce what UC2 and UNITER computed, in float32."""

import pytest
import torch
from helpers.mlmm.golden import CASES, Golden, real_places
from torch.nn import functional as F
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
    load_original_checkpoint,
)
from wenlan.modeling_mlmm.original_checkpoint import PREFIX, RENAMES

# the golden README suggests 2e-5 for states, 1e-5 for losses and 1e-4 for gradient norms
STATES = {"atol": 1e-5, "rtol": 0}
LOSSES = {"atol": 0, "rtol": 1e-5}
GRADIENTS = {"rel": 1e-4, "abs": 1e-9}
TRUNK_TASKS = ("itm", "mlm", "mrfr", "mrckl")


@pytest.fixture(scope="module", params=CASES)
def golden(request):
    return Golden(request.param)


def build(golden, model_class, *parts, **options):
    model = model_class(golden.config(**options)).eval()
    load_original_checkpoint(model, golden.checkpoint(*parts))
    return model


@pytest.fixture(scope="module")
def tower(golden):
    return build(golden, MLMMModel, "pretrain")


@pytest.fixture(scope="module")
def pretraining(golden):
    return build(golden, MLMMForPreTraining, "pretrain")


@pytest.fixture(scope="module")
def retrieval(golden):
    return build(golden, MLMMForImageTextRetrieval, "pretrain", "retrieval")


@pytest.fixture(scope="module")
def answering(golden):
    return build(golden, MLMMForVisualQuestionAnswering, "pretrain", "vqa")


def labels_of(golden, task):
    """Returns the labels of a task under our names, in our layout."""
    if task == "itm":
        return {"itm_labels": golden.inputs["plain/targets"]}
    if task == "mlm":
        labels = golden.inputs["mlm/txt_labels"]
        return {"mlm_labels": labels.masked_fill(labels == -1, -100)}
    masks = golden.inputs[f"{task}/img_masks"]
    name = {"mrfr": "features", "mrckl": "soft_labels"}[task]
    masked = [golden.example(i, name)[mask[: len(golden.example(i, name))]] for i, mask in enumerate(masks)]
    return {{"mrfr": "mrfr_labels", "mrckl": "mrc_labels"}[task]: torch.cat(masked)}


def run_pretraining(golden, model, task):
    return model(**golden.batch("plain" if task == "itm" else task), **labels_of(golden, task))


def assert_gradient_norms(model, golden, task):
    """Compares every norm of the golden file; parameters that are tied count once, as there."""
    squares = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[name] = parameter.grad.double().square().sum()
    expected = {
        key.removeprefix(f"{task}/grad_norm/"): value.item()
        for key, value in golden.outputs.items()
        if key.startswith(f"{task}/grad_norm/")
    }
    assert len(expected) >= 5
    actual = {key: squares[f"mlmm.{renamed(key)}"].sqrt().item() for key in expected}
    assert actual == pytest.approx(expected, **GRADIENTS)
    total = sum(squares.values()).sqrt().item()
    assert total == pytest.approx(golden.outputs[f"{task}/grad_norm_all"].item(), **GRADIENTS)


def renamed(key):
    for pattern, replacement in RENAMES:
        key = pattern.sub(replacement, key)
    return PREFIX.sub("", key)


# --- the tower


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_states_after_every_layer_are_the_reference_ones(golden, tower, attention):
    batch = golden.batch("plain")
    places, theirs = real_places(batch), golden.inputs["plain/attn_masks"].bool()
    tower.set_attn_implementation(attention)
    with torch.no_grad():
        output = tower(**batch, output_hidden_states=True)
    names = ["embedding_output", *(f"hidden_{k + 1}" for k in range(tower.config.num_hidden_layers))]
    assert len(output.hidden_states) == len(names)
    for states, name in zip(output.hidden_states, names, strict=True):
        torch.testing.assert_close(states[places], golden.outputs[f"plain/{name}"][theirs], **STATES)
    torch.testing.assert_close(
        output.last_hidden_state[places], golden.outputs["plain/sequence_output"][theirs], **STATES
    )
    torch.testing.assert_close(output.pooler_output, golden.outputs["plain/pooled"], **STATES)


@pytest.mark.parametrize("unpadded", [True, False])
def test_states_are_the_reference_ones_with_and_without_unpadding(golden, tower, unpadded, monkeypatch):
    monkeypatch.setattr(tower.config, "compact_batches", unpadded)
    batch = golden.batch("plain")
    with torch.no_grad():
        output = tower(**batch)
    theirs = golden.outputs["plain/sequence_output"][golden.inputs["plain/attn_masks"].bool()]
    torch.testing.assert_close(output.last_hidden_state[real_places(batch)], theirs, **STATES)
    torch.testing.assert_close(output.pooler_output, golden.outputs["plain/pooled"], **STATES)
    joint = torch.cat([output.text_states, output.region_states], dim=1)
    torch.testing.assert_close(joint, output.last_hidden_state, rtol=0, atol=0)


def test_attention_of_the_last_layer_is_the_reference_one(golden, tower):
    tower.set_attn_implementation("eager")
    batch = golden.batch("plain")
    with torch.no_grad():
        attention = tower(**batch, output_attentions=True).attentions[-1]
    expected = golden.outputs["plain/attention_last"]
    rows = zip(attention, expected, real_places(batch), golden.inputs["plain/attn_masks"].bool(), strict=True)
    for actual_row, expected_row, ours, theirs in rows:
        actual_row, expected_row = actual_row[:, ours], expected_row[:, theirs]
        torch.testing.assert_close(actual_row[:, :, ours], expected_row[:, :, theirs], **STATES)
        assert actual_row[:, :, ~ours].abs().max() == 0


def test_text_alone_gives_the_reference_states(golden, tower):
    batch = golden.batch("plain")
    with torch.no_grad():
        output = tower(batch["input_ids"], batch["attention_mask"])
    mask = golden.inputs["text_only/attn_masks"].bool()
    torch.testing.assert_close(output.text_states[mask], golden.outputs["text_only/sequence_output"][mask], **STATES)
    assert output.region_states is None


def test_images_alone_give_the_reference_states(golden, tower):
    batch = {name: value for name, value in golden.batch("plain").items() if name.startswith("region")}
    with torch.no_grad():
        output = tower(**batch)
    mask = golden.inputs["image_only/attn_masks"].bool()
    torch.testing.assert_close(output.region_states[mask], golden.outputs["image_only/sequence_output"][mask], **STATES)
    assert output.text_states is None


def test_positions_given_are_the_positions_used(golden, tower):
    batch = golden.batch("plain")
    used = golden.inputs["plain/position_ids_used"].expand_as(batch["input_ids"])
    with torch.no_grad():
        output = tower(**batch, position_ids=used)
        moved = tower(**batch, position_ids=(used + 1).clamp(max=tower.config.max_position_embeddings - 1))
    theirs = golden.outputs["plain/sequence_output"][golden.inputs["plain/attn_masks"].bool()]
    torch.testing.assert_close(output.last_hidden_state[real_places(batch)], theirs, **STATES)
    assert (moved.last_hidden_state - output.last_hidden_state)[real_places(batch)].abs().max() > 1e-2


# --- pre-training


def test_matching_has_the_reference_logits_and_loss(golden, pretraining):
    with torch.no_grad():
        output = run_pretraining(golden, pretraining, "itm")
    torch.testing.assert_close(output.itm_logits, golden.outputs["plain/itm_logits"], **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["itm/loss_mean"], **LOSSES)
    each = F.cross_entropy(output.itm_logits, golden.inputs["plain/targets"], reduction="none")
    torch.testing.assert_close(each, golden.outputs["itm/loss_each"], **STATES)


def test_masked_language_has_the_reference_logits_and_loss(golden, pretraining):
    with torch.no_grad():
        output = run_pretraining(golden, pretraining, "mlm")
    torch.testing.assert_close(output.mlm_logits, golden.outputs["mlm/logits_masked"], **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["mlm/loss_mean"], **LOSSES)
    labels = golden.inputs["mlm/txt_labels"]
    each = F.cross_entropy(output.mlm_logits, labels[labels != -1], reduction="none")
    torch.testing.assert_close(each, golden.outputs["mlm/loss_each"], **STATES)


def test_region_features_have_the_reference_predictions_and_loss(golden, pretraining):
    with torch.no_grad():
        output = run_pretraining(golden, pretraining, "mrfr")
    torch.testing.assert_close(output.mrfr_predictions, golden.outputs["mrfr/pred_masked"], **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["mrfr/loss_mean"], **LOSSES)
    targets = labels_of(golden, "mrfr")["mrfr_labels"]
    torch.testing.assert_close(targets, golden.inputs["mrfr/feat_targets"], rtol=0, atol=0)
    each = (output.mrfr_predictions - targets).square().sum(dim=1)
    torch.testing.assert_close(each, golden.outputs["mrfr/loss_sum_per_region"], **LOSSES)


def test_region_classes_have_the_reference_logits_and_both_reductions(golden, pretraining, monkeypatch):
    with torch.no_grad():
        output = run_pretraining(golden, pretraining, "mrckl")
        monkeypatch.setattr(pretraining.config, "mrc_reduction", "batchmean")
        per_region = run_pretraining(golden, pretraining, "mrckl").loss
    torch.testing.assert_close(output.mrc_logits, golden.outputs["mrckl/logits_masked"], **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["mrckl/loss_mean_elementwise"], **LOSSES)
    torch.testing.assert_close(per_region, golden.outputs["mrckl/kl_per_region"].mean(), **LOSSES)
    targets = labels_of(golden, "mrckl")["mrc_labels"]
    each = F.kl_div(output.mrc_logits.log_softmax(-1), targets, reduction="none").sum(-1)
    torch.testing.assert_close(each, golden.outputs["mrckl/kl_per_region"], **STATES)


def test_hard_region_classes_have_the_reference_loss(golden, pretraining):
    best = labels_of(golden, "mrckl")["mrc_labels"][:, 1:].argmax(dim=1) + 1
    with torch.no_grad():
        output = pretraining(**golden.batch("mrckl"), mrc_labels=best)
    torch.testing.assert_close(output.loss, golden.outputs["mrc_hard/loss_mean"], **LOSSES)
    each = F.cross_entropy(output.mrc_logits, best, reduction="none")
    torch.testing.assert_close(each, golden.outputs["mrc_hard/loss_each"], **STATES)


@pytest.mark.parametrize("task", TRUNK_TASKS)
def test_pretraining_gradients_have_the_reference_norms(golden, pretraining, task):
    pretraining.zero_grad()
    run_pretraining(golden, pretraining, task).loss.backward()
    assert_gradient_norms(pretraining, golden, task)


# --- fine-tuning


def rank_labels(golden):
    return torch.tensor([1, 0, 0] * (len(golden.pairs("rank")) // 3))


def test_retrieval_has_the_reference_scores_and_margin_loss(golden, retrieval):
    with torch.no_grad():
        output = retrieval(**golden.batch("rank"), labels=rank_labels(golden))
    torch.testing.assert_close(output.scores, golden.outputs["rank/scores"].squeeze(-1), **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["rank/loss_mean"], **LOSSES)
    right, wrong = output.scores.sigmoid().view(-1, 3).split([1, 2], dim=1)
    each = (golden.meta["margin"] + wrong - right).clamp(min=0)
    torch.testing.assert_close(each, golden.outputs["rank/loss_each"], **STATES)


def test_retrieval_gradients_have_the_reference_norms(golden, retrieval):
    retrieval.zero_grad()
    retrieval(**golden.batch("rank"), labels=rank_labels(golden)).loss.backward()
    assert_gradient_norms(retrieval, golden, "rank")


def test_new_rank_head_is_the_one_of_the_reference(golden, retrieval):
    fresh = build(golden, MLMMForImageTextRetrieval, "pretrain")
    for name, parameter in fresh.named_parameters():
        assert torch.equal(parameter, retrieval.get_parameter(name)), name


def test_answers_have_the_reference_logits_and_loss(golden, answering):
    targets = golden.inputs["vqa/targets"]
    with torch.no_grad():
        output = answering(**golden.batch("vqa"), labels=targets)
    torch.testing.assert_close(output.logits, golden.outputs["vqa/logits"], **STATES)
    torch.testing.assert_close(output.loss, golden.outputs["vqa/loss_scaled"], **LOSSES)
    torch.testing.assert_close(output.loss / targets.shape[1], golden.outputs["vqa/loss_mean_elementwise"], **LOSSES)


def test_answer_gradients_have_the_reference_norms(golden, answering):
    answering.zero_grad()
    answering(**golden.batch("vqa"), labels=golden.inputs["vqa/targets"]).loss.backward()
    assert_gradient_norms(answering, golden, "vqa")
