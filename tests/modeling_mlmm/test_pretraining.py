"""Tasks, labels, masks and metrics of pre-training; the numbers themselves are compared in test_golden_values."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.perturb import perturb
from torch.nn import functional as F
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.modeling_mlmm.pretraining import class_loss, cross_entropy, feature_loss

HEADS = {"itm": "itm_head", "mlm": "mlm_head", "mrfr": "mrfr_head", "mrc": "mrc_head"}


@pytest.fixture(scope="module")
def model():
    return perturb(MLMMForPreTraining(tiny_config()))


def all_labels():
    """Returns inputs with three masked regions and two masked words, and labels of every task."""
    batch = tiny_batch()
    masked = torch.zeros(3, 6, dtype=torch.bool)
    masked[0, 1] = masked[1, 0] = masked[1, 5] = True
    mlm_labels = torch.full((3, 7), -100)
    mlm_labels[0, 2], mlm_labels[2, 4] = 17, 23
    return {
        **batch,
        "masked_regions": masked,
        "itm_labels": torch.tensor([1, 0, 1]),
        "mlm_labels": mlm_labels,
        "mrfr_labels": batch["region_features"],
        "mrc_labels": torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(5)).softmax(-1),
    }


@torch.no_grad()
def run(model, **inputs):
    return model(**inputs)


def only(task):
    """Returns the same without the labels of the other tasks."""
    return {k: v for k, v in all_labels().items() if not k.endswith("_labels") or k == f"{task}_labels"}


def test_all_labels_give_the_weighted_sum_of_the_four_losses():
    weights = {"itm_loss_weight": 1.0, "mlm_loss_weight": 2.0, "mrfr_loss_weight": 0.5, "mrc_loss_weight": 3.0}
    model = perturb(MLMMForPreTraining(tiny_config(**weights)))
    output = run(model, **all_labels())
    assert list(output.losses) == ["itm", "mlm", "mrfr", "mrc"]
    expected = sum(weights[f"{task}_loss_weight"] * loss for task, loss in output.losses.items())
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("task", HEADS)
def test_labels_of_one_task_give_its_loss_alone(model, task):
    output = run(model, **only(task))
    assert list(output.losses) == [task]
    torch.testing.assert_close(output.loss, run(model, **all_labels()).losses[task])


@pytest.mark.parametrize("task", HEADS)
def test_named_task_leaves_other_labels_aside(model, task):
    output = run(model, **all_labels(), task=task)
    assert list(output.losses) == [task]
    torch.testing.assert_close(output.loss, run(model, **only(task)).loss)


@pytest.mark.parametrize("task", HEADS)
def test_one_task_trains_its_head_and_the_tower_and_no_other_head(model, task):
    model.zero_grad()
    model(**only(task)).loss.backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max()}
    assert trained == {"mlmm", HEADS[task]}


def test_labels_of_all_regions_and_of_the_masked_ones_are_the_same(model):
    batch = all_labels()
    short = {**batch, **{name: batch[name][batch["masked_regions"]] for name in ("mrfr_labels", "mrc_labels")}}
    assert short["mrc_labels"].shape == (3, 9)
    assert run(model, **short).losses == run(model, **batch).losses


def test_words_are_predicted_at_masked_places_alone(model):
    output = run(model, **only("mlm"))
    assert output.mlm_logits.shape == (2, 61)
    states = output.text_states[[0, 2], [2, 4]]
    torch.testing.assert_close(output.mlm_logits, model.mlm_head(states))
    expected = F.cross_entropy(output.mlm_logits, torch.tensor([17, 23]))
    torch.testing.assert_close(output.loss, expected)


def test_without_labels_pairs_are_matched_and_nothing_is_lost(model):
    output = run(model, **tiny_batch())
    assert output.itm_logits.shape == (3, 2)
    assert output.loss is None
    assert output.losses is None


def test_batch_that_masks_nothing_has_loss_zero_and_no_nan(model):
    batch = {**only("mrc"), "mrfr_labels": all_labels()["mrfr_labels"], "masked_regions": torch.zeros(3, 6).bool()}
    batch["mlm_labels"] = torch.full((3, 7), -100)
    output = run(model, **batch)
    assert {task: loss.item() for task, loss in output.losses.items()} == {"mlm": 0, "mrfr": 0, "mrc": 0}
    assert {task: value.item() for task, value in output.accuracies.items()} == {"mlm": 0, "mrc": 0}


def test_accuracies_are_the_shares_of_right_predictions(model):
    batch = all_labels()
    output = run(model, **batch)
    itm = (output.itm_logits.argmax(1) == batch["itm_labels"]).float().mean()
    mrc = output.mrc_logits[:, 1:].argmax(1) == batch["mrc_labels"][batch["masked_regions"]][:, 1:].argmax(1)
    torch.testing.assert_close(output.accuracies["itm"], itm)
    torch.testing.assert_close(output.accuracies["mrc"], mrc.float().mean())


def test_unknown_task_is_refused_with_the_known_ones(model):
    with pytest.raises(ValueError, match=r"Unknown task 'mrckl'; known are itm, mlm, mrfr, mrc"):
        model(**all_labels(), task="mrckl")


def test_task_without_its_labels_is_refused(model):
    with pytest.raises(ValueError, match="The task mrc needs mrc_labels"):
        model(**only("itm"), task="mrc")


def test_region_labels_without_masks_are_refused(model):
    batch = all_labels()
    del batch["masked_regions"]
    with pytest.raises(ValueError, match="mrfr_labels and mrc_labels need masked_regions"):
        model(**batch)


def test_region_labels_of_another_number_are_refused(model):
    with pytest.raises(ValueError, match=r"mrfr_labels are \(2, 10\) for 3 masked regions"):
        model(**{**only("mrfr"), "mrfr_labels": torch.zeros(2, 10)})


def test_losses_of_half_precision_are_computed_in_full():
    logits = torch.tensor([[60.0, 61.5, 0.0]], dtype=torch.bfloat16)
    loss, _ = cross_entropy(logits, torch.tensor([1]))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(torch.tensor([[60.0, 61.5, 0.0]]), torch.tensor([1])))
    assert feature_loss(logits, logits).dtype == torch.float32


def test_left_out_labels_count_in_neither_loss_nor_accuracy():
    logits = torch.tensor([[3.0, 0.0], [0.0, 5.0], [1.0, 0.0]])
    loss, accuracy = cross_entropy(logits, torch.tensor([0, -100, 1]))
    torch.testing.assert_close(loss, F.cross_entropy(logits[[0, 2]], torch.tensor([0, 1])))
    assert accuracy == 0.5


def test_background_is_no_right_class_wherever_it_stands():
    logits = torch.tensor([[9.0, 2.0, 1.0], [0.0, 1.0, 9.0]])
    targets = torch.tensor([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1]])
    options = {"reduction": "batchmean"}
    assert class_loss(logits, targets, background_index=0, **options)[1] == 0.5
    assert class_loss(logits, targets, background_index=2, **options)[1] == 0.5
    assert class_loss(logits[:1], targets[:1], background_index=2, **options)[1] == 1


def test_batchmean_is_the_elementwise_loss_times_the_classes():
    logits, targets = torch.randn(4, 9), torch.rand(4, 9).softmax(-1)
    small, _ = class_loss(logits, targets, reduction="elementwise", background_index=0)
    large, _ = class_loss(logits, targets, reduction="batchmean", background_index=0)
    torch.testing.assert_close(large, small * 9)
    expected = F.kl_div(logits.log_softmax(-1), targets, reduction="batchmean")
    torch.testing.assert_close(large, expected)


def test_perfect_classes_with_impossible_ones_have_loss_zero():
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    loss, _ = class_loss(torch.tensor([[50.0, -50.0, -50.0]]), targets, reduction="batchmean", background_index=1)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_training_on_one_batch_brings_every_loss_down():
    torch.manual_seed(0)
    model = MLMMForPreTraining(tiny_config()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = all_labels()
    first = run(model, **batch).losses
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    last = run(model, **batch)
    assert last.losses["itm"] < 0.2 * first["itm"]
    assert last.losses["mlm"] < 0.2 * first["mlm"]
    assert last.losses["mrfr"] < 0.5 * first["mrfr"]
    assert last.losses["mrc"] < first["mrc"]
    assert last.accuracies["itm"] == last.accuracies["mlm"] == 1


def test_normalized_features_do_not_feel_their_scale_and_are_the_target():
    model = perturb(MLMMForPreTraining(tiny_config(normalize_region_features=True)))
    inputs = only("mrfr")
    scaled = {name: 50 * inputs[name] + 3 for name in ("region_features", "mrfr_labels")}
    plain, moved = run(model, **inputs), run(model, **{**inputs, **scaled})
    torch.testing.assert_close(moved.mrfr_predictions, plain.mrfr_predictions, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved.loss, plain.loss, rtol=1e-3, atol=1e-3)
    wanted = F.layer_norm(inputs["mrfr_labels"][inputs["masked_regions"]], inputs["mrfr_labels"].shape[-1:])
    torch.testing.assert_close(plain.loss, F.mse_loss(plain.mrfr_predictions, wanted))
