"""Several texts an image in a step, texts that are true of several groups, and cached states of texts."""

import pytest
import torch
from helpers.brivl.tiny import TINY_BERT, images, texts, tiny_config
from helpers.perturb import perturb
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLForPreTraining
from wenlan.modeling_brivl.contrastive_loss import is_true, pairs_of_one_group

IMAGES, TEXTS_PER_IMAGE = 3, 2
IMAGE_OF = [0, 0, 1, 1, 2, 2]
GROUPS = torch.tensor([7, 8, 9])
# The second text of the first image is true of the third image, too; the last one of a group of the queue.
TEXT_GROUPS = torch.tensor([[7, -1], [7, 9], [8, -1], [8, -1], [9, -1], [9, 5]])
QUEUE_GROUPS = [5, 7, *[-1] * 11]


def build_model(text=None, **overrides):
    vision = {"train_batch_norm": False}
    model = perturb(BriVLForPreTraining(tiny_config(vision, text, **overrides)))
    model.queue.group_ids.copy_(torch.tensor(QUEUE_GROUPS))
    return model


def inputs(**more):
    return {"input_ids": texts(len(IMAGE_OF)), "pixel_values": images(IMAGES), "group_ids": GROUPS, **more}


def reference(output, queue, *, in_batch, text_groups=TEXT_GROUPS):
    """Returns the loss, computed text by text: the key of the own text or image against all keys that do not fit."""
    loss = 0.0
    for number, owner in enumerate(IMAGE_OF):
        for to_texts in (True, False):
            query = output.image_embeds[owner] if to_texts else output.text_embeds[number]
            own = output.text_keys[number] if to_texts else output.image_keys[owner]
            others = []
            if in_batch and to_texts:
                others += [
                    output.text_keys[other]
                    for other, its_owner in enumerate(IMAGE_OF)
                    if its_owner != owner and GROUPS[owner] not in text_groups[other]
                ]
            elif in_batch:
                others += [
                    output.image_keys[other]
                    for other in range(IMAGES)
                    if other != owner and GROUPS[other] not in text_groups[number]
                ]
            keys = queue.text_keys if to_texts else queue.image_keys
            true_of = [GROUPS[owner].item()] if to_texts else text_groups[number].tolist()
            others += [
                key for key, group in zip(keys, QUEUE_GROUPS, strict=True) if group == -1 or group not in true_of
            ]
            logits = (torch.stack([own, *others]) @ query)[None] / 0.07
            loss = loss + F.cross_entropy(logits, torch.zeros(1, dtype=torch.int64)) / len(IMAGE_OF)
    return loss


@pytest.mark.parametrize("in_batch", [True, False])
def test_loss_contrasts_each_text_with_the_keys_that_it_is_not_true_of(in_batch):
    model = build_model(in_batch_negatives=in_batch)
    output = model(**inputs(text_group_ids=TEXT_GROUPS))
    torch.testing.assert_close(output.loss, reference(output, model.queue, in_batch=in_batch))
    more = (len(IMAGE_OF), IMAGES) if in_batch else (0, 0)
    assert output.logits_per_image.shape == (6, 1 + more[0] + 13)
    assert output.logits_per_text.shape == (6, 1 + more[1] + 13)


def test_without_groups_of_the_texts_they_are_true_of_their_image_alone():
    model = build_model(in_batch_negatives=True)
    output = model(**inputs())
    own = GROUPS[IMAGE_OF, None]
    torch.testing.assert_close(output.loss, reference(output, model.queue, in_batch=True, text_groups=own))
    given = model(**inputs(text_group_ids=own))
    assert torch.equal(output.loss, given.loss)


def test_texts_of_one_image_of_no_known_group_are_no_negatives_of_each_other():
    model = build_model(in_batch_negatives=True)
    batch = {**inputs(), "group_ids": torch.full((3,), -1)}
    output = model(**batch)
    queries = output.image_embeds, output.text_embeds, output.image_keys
    gradients = output.text_keys.clone().requires_grad_()
    logits = model.contrastive_output(*queries, gradients, batch["group_ids"]).logits_per_image
    loss = model.contrastive_output(*queries, gradients, batch["group_ids"]).loss
    assert logits.shape == (6, 1 + 6 + 13)
    assert torch.isfinite(torch.autograd.grad(loss, gradients)[0]).all()
    groups = torch.arange(100, 103)  # known ones, all different, mask the same
    torch.testing.assert_close(model(**{**batch, "group_ids": groups}).loss, output.loss)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_chunks_hold_whole_images_with_their_texts(size):
    whole, chunked = (build_model(in_batch_negatives=True, contrastive_chunk_size=n) for n in (0, size))
    chunked.load_state_dict(whole.state_dict())
    batch = inputs(text_group_ids=TEXT_GROUPS)
    torch.testing.assert_close(chunked(**batch).loss, whole(**batch).loss)


def test_keys_of_texts_of_several_groups_do_not_wait_for_the_queue():
    model = build_model(in_batch_negatives=True).train()
    output = model(**inputs(text_group_ids=TEXT_GROUPS))
    image_keys, text_keys, groups = model.pop_keys()
    assert groups.tolist() == [7, 8, 8, 9]
    assert torch.equal(text_keys, output.text_keys[[0, 2, 3, 4]])
    assert torch.equal(image_keys, output.image_keys[[0, 1, 1, 2]])
    model(**inputs(text_group_ids=torch.tensor([[7, 8]] * 6)))
    model.queue.enqueue(*model.pop_keys())  # nothing
    assert model.queue.position == 0


@pytest.mark.parametrize("count", [4, 5])
def test_unequally_many_texts_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} texts cannot belong to 3 images"):
        build_model()(**{**inputs(), "input_ids": texts(count)})


@pytest.mark.parametrize("trainable", [[], ["layer.1"]])
@pytest.mark.parametrize("shared", [True, False])
def test_cached_states_of_texts_give_the_loss_of_the_texts(trainable, shared):
    model = build_model({"trainable_backbone": trainable}, share_frozen_trunk=shared)
    if not shared:
        model.momentum_text_model.backbone.load_state_dict(model.brivl.text_model.backbone.state_dict())
    batch = inputs(text_group_ids=TEXT_GROUPS, attention_mask=torch.ones(6, 7, dtype=torch.int64))
    batch["attention_mask"][2, 4:] = 0
    expected = model(**batch)
    states = model.brivl.text_model.run_trunk(batch.pop("input_ids"), batch["attention_mask"])
    states[2, 4:] = 0.0  # as padding is
    output = model(**batch, text_states=states)
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(output.text_embeds, expected.text_embeds)


def test_cached_states_of_images_give_the_loss_of_the_images():
    vision = {"train_batch_norm": False, "trainable_backbone": ["blocks.4"]}
    model = perturb(BriVLForPreTraining(tiny_config(vision, in_batch_negatives=True)))
    batch = inputs(text_group_ids=TEXT_GROUPS)
    expected = model(**batch).loss
    states = model.brivl.vision_model.run_trunk(batch.pop("pixel_values"))
    torch.testing.assert_close(model(**batch, image_states=states).loss, expected)


def test_states_cannot_stand_for_texts_that_attend_to_padding():
    model = build_model({"trainable_backbone": [], "attend_padding": True})
    batch = inputs()
    states = torch.zeros(*batch.pop("input_ids").shape, TINY_BERT["hidden_size"])
    with pytest.raises(ValueError, match="input_ids"):
        model(**batch, text_states=states)


def test_a_text_is_true_of_known_groups_alone():
    found = is_true(torch.tensor([[1, -1], [2, 3]]), torch.tensor([1, 3, -1]))
    assert found.tolist() == [[True, False, False], [False, True, False]]


def test_pairs_of_unknown_groups_wait():
    keys = torch.eye(2), torch.eye(4)
    image_keys, text_keys, groups = pairs_of_one_group(
        *keys, torch.tensor([-1, 4]), torch.tensor([[-1], [-1], [4], [4]])
    )
    assert groups.tolist() == [-1, -1, 4, 4]
    assert torch.equal(text_keys, keys[1])
    assert torch.equal(image_keys, keys[0][[0, 0, 1, 1]])
