import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from torch.nn import functional as F
from transformers.utils import logging
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel

NO_GROUP = -1


def build_model(vision=None, text=None, **overrides):
    """Returns a model in evaluation mode whose momentum towers differ from its query towers."""
    return perturb(BriVLForPreTraining(tiny_config(vision, text, **overrides)))


def inputs(count, **more):
    return {"input_ids": texts(count), "pixel_values": images(count), **more}


def set_groups(model, groups):
    model.queue.group_ids.copy_(torch.tensor(groups))


def queue_gradients(model, **batch):
    """Returns the gradients of the loss with respect to the image and text queues: (k, d) each."""
    queues = model.queue.image_keys.requires_grad_(), model.queue.text_keys.requires_grad_()
    return torch.autograd.grad(model(**batch).loss, queues)


@pytest.mark.parametrize("count", [4, 7, 1])
def test_number_of_negatives_is_the_queue_size_for_any_batch_size(count):
    output = build_model()(**inputs(count))
    assert output.logits_per_image.shape == output.logits_per_text.shape == (count, 1 + 13)


def test_loss_is_the_sum_of_both_directions_against_the_queue():
    model = build_model()
    output = model(**inputs(5))
    labels = torch.zeros(5, dtype=torch.int64)
    positive = (output.image_embeds * output.text_keys).sum(dim=1, keepdim=True)
    to_texts = torch.cat([positive, output.image_embeds @ model.queue.text_keys.T], dim=1) / 0.07
    positive = (output.text_embeds * output.image_keys).sum(dim=1, keepdim=True)
    to_images = torch.cat([positive, output.text_embeds @ model.queue.image_keys.T], dim=1) / 0.07
    expected = F.cross_entropy(to_texts, labels) + F.cross_entropy(to_images, labels)
    torch.testing.assert_close(output.loss, expected)


def test_keys_are_the_unit_features_of_the_momentum_towers():
    model = build_model()
    batch = inputs(3)
    output = model(**batch)
    image = model.momentum_vision_model(batch["pixel_values"]).pooler_output
    text = model.momentum_text_model(batch["input_ids"]).pooler_output
    torch.testing.assert_close(output.image_keys, F.normalize(image, dim=1))
    torch.testing.assert_close(output.text_keys, F.normalize(text, dim=1))
    assert (output.image_keys - output.image_embeds).abs().max() > 0.01


def test_queue_entry_of_the_same_group_gets_no_gradient():
    model = build_model()
    set_groups(model, [5, 6, 5, *[NO_GROUP] * 9, 6])
    for gradient in queue_gradients(model, **inputs(3), group_ids=torch.tensor([5, 5, 5])):
        assert gradient[[0, 2]].abs().max() == 0
        assert gradient[1].abs().max() > 0
        assert gradient[3:].abs().amax(dim=1).min() > 0


def test_queue_entry_of_the_same_group_does_not_change_the_loss():
    model = build_model()
    set_groups(model, [5, *[NO_GROUP] * 12])
    batch = inputs(3, group_ids=torch.tensor([5, 5, 5]))
    before = model(**batch).loss
    model.queue.image_keys[0] = model.queue.text_keys[0] = 3.0
    assert torch.equal(model(**batch).loss, before)


def test_group_masks_only_the_rows_of_its_own_pairs():
    model = build_model()
    set_groups(model, [5, *[NO_GROUP] * 12])
    image_gradient, _ = queue_gradients(model, **inputs(2), group_ids=torch.tensor([5, 6]))
    assert image_gradient[0].abs().max() > 0


def test_unknown_groups_never_mask_each_other():
    model = build_model()
    unknown = torch.full((3,), NO_GROUP)
    batch = inputs(3)
    assert torch.equal(model(**batch, group_ids=unknown).loss, model(**batch).loss)
    for gradient in queue_gradients(model, **batch, group_ids=unknown):
        assert gradient.abs().amax(dim=1).min() > 0


def test_in_batch_negatives_add_one_column_a_pair():
    output = build_model(in_batch_negatives=True)(**inputs(5))
    assert output.logits_per_image.shape == output.logits_per_text.shape == (5, 1 + 5 + 13)


def in_batch_reference(output, queue, allowed):
    """Returns the loss with the other keys of the batch where `allowed` (b, b), then the queue, as negatives."""
    count, loss = len(allowed), 0.0
    for queries, keys, negatives in (
        (output.image_embeds, output.text_keys, queue.text_keys),
        (output.text_embeds, output.image_keys, queue.image_keys),
    ):
        for row in range(count):
            others = torch.cat([keys[row : row + 1], keys[allowed[row]], negatives])
            logits = (others @ queries[row])[None] / 0.07
            loss = loss + F.cross_entropy(logits, torch.zeros(1, dtype=torch.int64)) / count
    return loss


def test_in_batch_negatives_are_the_keys_of_the_other_pairs():
    model = build_model(in_batch_negatives=True)
    output = model(**inputs(5))
    others = ~torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(output.loss, in_batch_reference(output, model.queue, others))


def test_in_batch_negatives_leave_out_pairs_of_the_same_group():
    model = build_model(in_batch_negatives=True)
    groups = torch.tensor([3, 4, 3, NO_GROUP, NO_GROUP])
    output = model(**inputs(5), group_ids=groups)
    others = ~torch.eye(5, dtype=torch.bool)
    others[0, 2] = others[2, 0] = False
    torch.testing.assert_close(output.loss, in_batch_reference(output, model.queue, others))


def test_keys_of_the_own_group_are_positives_with_group_positives():
    model = build_model(group_positives=True, in_batch_negatives=True)
    set_groups(model, [3, *[NO_GROUP] * 12])
    output = model(**inputs(3), group_ids=torch.tensor([3, 4, 3]))
    own, batch_column, queue_column = 0, 1, 4  # columns: own key, 3 keys of the batch, 13 of the queue
    expected = 0.0
    for logits in (output.logits_per_image, output.logits_per_text):
        for row, other in ((0, 2), (1, None), (2, 0)):
            compared = [own, *(batch_column + i for i in range(3) if i != row), *range(queue_column, queue_column + 13)]
            likelihood = logits[row] - logits[row, compared].logsumexp(dim=0)
            positives = [own] if other is None else [own, batch_column + other, queue_column]
            expected = expected - likelihood[positives].sum() / 3
    torch.testing.assert_close(output.loss, expected)


def test_unknown_groups_are_no_positives_of_each_other():
    batch = inputs(3, group_ids=torch.full((3,), NO_GROUP))
    model = build_model(in_batch_negatives=True)
    expected = model(**batch).loss
    model.config.group_positives = True
    assert torch.equal(model(**batch).loss, expected)


def test_keys_are_refused_without_a_training_forward():
    with pytest.raises(RuntimeError, match="training mode"):
        build_model().pop_keys()


def test_without_top_k_only_the_own_key_is_positive_even_if_the_queue_holds_it():
    model = build_model(multi_positive_top_k=0)
    batch = inputs(3)
    output = model(**batch)
    model.queue.enqueue(output.image_keys, output.text_keys)
    output = model(**batch)
    labels = torch.zeros(3, dtype=torch.int64)
    expected = F.cross_entropy(output.logits_per_image, labels) + F.cross_entropy(output.logits_per_text, labels)
    torch.testing.assert_close(output.loss, expected)


def test_with_top_k_the_pair_that_is_nearest_in_both_queues_is_positive_too():
    model = build_model(multi_positive_top_k=1)
    batch = inputs(3)
    output = model(**batch)
    model.queue.enqueue(output.image_keys, output.text_keys)
    output = model(**batch)
    rows = torch.arange(3)
    expected = sum(
        -(logits.log_softmax(dim=1)[:, 0] + logits.log_softmax(dim=1)[rows, 1 + rows]).mean()
        for logits in (output.logits_per_image, output.logits_per_text)
    )
    torch.testing.assert_close(output.loss, expected)


def test_pair_that_is_nearest_in_one_queue_only_stays_negative():
    model = build_model(multi_positive_top_k=1)
    batch = inputs(3)
    output = model(**batch)
    model.queue.enqueue(output.image_keys, output.text_keys.roll(1, dims=0))
    output = model(**batch)
    labels = torch.zeros(3, dtype=torch.int64)
    expected = F.cross_entropy(output.logits_per_image, labels) + F.cross_entropy(output.logits_per_text, labels)
    torch.testing.assert_close(output.loss, expected)


def test_gradient_reaches_all_of_the_query_towers_and_none_of_the_momentum_towers():
    model = build_model()
    model(**inputs(3)).loss.backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    momentum = {name for name, _ in model.named_parameters() if name.startswith("momentum_")}
    # one segment without padding: BERT's second segment and unused positions get zero gradients, not none
    assert without == momentum


def test_keys_wait_in_training_mode_only():
    model = build_model()
    model(**inputs(3))
    assert model._waiting_keys == []
    output = model.train()(**inputs(3, group_ids=torch.tensor([7, 8, 9])))
    image_keys, text_keys, group_ids = model.pop_keys()
    assert torch.equal(image_keys, output.image_keys)
    assert torch.equal(text_keys, output.text_keys)
    assert group_ids.tolist() == [7, 8, 9]
    assert model._waiting_keys == []


def test_forward_changes_neither_queue_nor_momentum_parameters():
    model = build_model().train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    queue = {name: b.clone() for name, b in model.queue.named_buffers()}
    model(**inputs(3)).loss.backward()
    assert [name for name, p in model.named_parameters() if not torch.equal(p, before[name])] == []
    assert [name for name, b in model.queue.named_buffers() if not torch.equal(b, queue[name])] == []


def test_cached_feature_maps_give_the_same_loss_as_pixels():
    model = build_model(vision={"trainable_backbone": []})
    batch = inputs(3)
    expected = model(**batch).loss
    feature_map = model.brivl.vision_model.backbone.forward_features(batch.pop("pixel_values"))
    torch.testing.assert_close(model(**batch, feature_map=feature_map).loss, expected)


def test_new_model_starts_with_momentum_towers_equal_to_the_query_towers():
    model = BriVLForPreTraining(tiny_config())
    assert towers_differ(model) == []


def towers_differ(model):
    pairs = zip(model.state_dict(), model.state_dict().values(), strict=True)
    momentum = {name.removeprefix("momentum_"): tensor for name, tensor in pairs if name.startswith("momentum_")}
    query = {name: model.brivl.state_dict()[name] for name in momentum}
    return [name for name in momentum if not torch.equal(momentum[name], query[name])]


@pytest.fixture
def model_folder(tmp_path):
    perturb(BriVLModel(tiny_config())).save_pretrained(tmp_path)
    return tmp_path


def test_pre_training_from_a_model_checkpoint_starts_its_momentum_towers_from_it(model_folder):
    model = BriVLForPreTraining.from_pretrained(model_folder)
    saved = BriVLModel.from_pretrained(model_folder).state_dict()
    loaded = model.brivl.state_dict()
    assert [name for name in saved if not torch.equal(saved[name], loaded[name])] == []
    assert towers_differ(model) == []


def test_pre_training_from_a_model_checkpoint_starts_a_fresh_deterministic_queue(model_folder):
    torch.manual_seed(7)
    queue = BriVLForPreTraining.from_pretrained(model_folder).queue.state_dict()
    fresh = BriVLForPreTraining(tiny_config()).queue.state_dict()
    assert [name for name in fresh if not torch.equal(fresh[name], queue[name])] == []


def test_model_opens_a_pre_training_checkpoint_and_gives_the_same_embeddings(tmp_path):
    pretraining = build_model()
    pretraining.save_pretrained(tmp_path)
    output = BriVLModel.from_pretrained(tmp_path)(**inputs(3))
    expected = pretraining.brivl(**inputs(3))
    assert torch.equal(output.image_embeds, expected.image_embeds)
    assert torch.equal(output.text_embeds, expected.text_embeds)


def test_saved_and_loaded_pre_training_model_is_the_same_bit_for_bit(tmp_path):
    model = build_model()
    model.queue.enqueue(torch.randn(5, 24), torch.randn(5, 24), torch.arange(5))
    model.save_pretrained(tmp_path)
    loaded = BriVLForPreTraining.from_pretrained(tmp_path).state_dict()
    saved = model.state_dict()
    assert set(saved) == set(loaded)
    assert [name for name in saved if not torch.equal(saved[name], loaded[name])] == []


@pytest.mark.parametrize("source", ["pre-training", "model"])
def test_queue_stays_float32_when_the_model_is_loaded_in_bfloat16(tmp_path, source):
    model = build_model()
    (model if source == "pre-training" else model.brivl).save_pretrained(tmp_path)
    loaded = BriVLForPreTraining.from_pretrained(tmp_path, dtype=torch.bfloat16)
    dtypes = {name: buffer.dtype for name, buffer in loaded.queue.named_buffers()}
    assert dtypes["image_keys"] == dtypes["text_keys"] == torch.float32
    assert dtypes["group_ids"] == dtypes["position"] == torch.int64
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert torch.equal(loaded.queue.image_keys, model.queue.image_keys)


def save(model, folder):
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("overrides", [{}, {"in_batch_negatives": True, "multi_positive_top_k": 2}])
def test_loss_of_a_bfloat16_model_is_near_that_of_float32(tmp_path, overrides):
    model = build_model(**overrides)
    batch = inputs(3)
    expected = model(**batch).loss
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    loaded = BriVLForPreTraining.from_pretrained(save(model, tmp_path), dtype=torch.bfloat16)(**batch).loss
    cast = model.to(torch.bfloat16)(**batch).loss
    assert loaded.dtype == cast.dtype == torch.float32
    torch.testing.assert_close(torch.stack([loaded, cast]), expected.expand(2), rtol=0.05, atol=0)


def test_frozen_parameters_stay_frozen_after_loading(tmp_path):
    model = build_model({"trainable_backbone": ["blocks.3"]}, {"trainable_backbone": ["layer.1"]})
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    loaded = BriVLForPreTraining.from_pretrained(save(model, tmp_path))
    assert {name for name, p in loaded.named_parameters() if not p.requires_grad} == frozen
    assert "momentum_vision_model.encoder.fc1.weight" in frozen
    assert "brivl.vision_model.backbone.conv_stem.weight" in frozen
    assert "brivl.text_model.backbone.encoder.layer.0.output.dense.weight" in frozen
    assert "brivl.vision_model.backbone.blocks.3.0.conv_pw.weight" not in frozen
    assert "brivl.vision_model.encoder.fc1.weight" not in frozen


def test_checkpoint_without_query_weights_is_refused(tmp_path):
    model = build_model()
    state = {name: t for name, t in model.state_dict().items() if name != "brivl.text_model.encoder.fc1.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks 1 weights.*brivl\.text_model\.encoder\.fc1\.weight"):
        BriVLForPreTraining.from_pretrained(tmp_path)


def test_training_without_the_callback_warns(caplog, monkeypatch):
    logging.warning_once.cache_clear()
    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.get_logger("wenlan"), "propagate", True)
    model = build_model().train()
    model(**inputs(2))
    assert "stand still" not in caplog.text
    model(**inputs(2))
    assert "MomentumQueueCallback" in caplog.text


def test_training_with_the_momentum_moved_does_not_warn(caplog):
    logging.warning_once.cache_clear()
    model = build_model().train()
    model.update_momentum()
    model(**inputs(2))
    model(**inputs(2))
    assert "stand still" not in caplog.text


def test_pretraining_logits_stay_float32_under_autocast():
    model = build_model()
    model.queue.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs(3))
    assert output.logits_per_image.dtype == output.logits_per_text.dtype == torch.float32
    expected = output.image_embeds.float() @ model.queue.text_keys.float().T / 0.07
    torch.testing.assert_close(output.logits_per_image[:, 1:], expected, atol=1e-4, rtol=0)
