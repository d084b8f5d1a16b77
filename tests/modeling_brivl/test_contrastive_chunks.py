"""A batch that goes through the towers in chunks gives the loss and the gradients of the whole batch."""

import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from wenlan.modeling_brivl import BriVLForPreTraining

FROZEN = {"trainable_backbone": ["blocks.3", "blocks.4"]}


def build_model(chunk_size, vision=None, **overrides):
    torch.manual_seed(0)
    config = tiny_config({"train_batch_norm": False, **(vision or {})}, contrastive_chunk_size=chunk_size, **overrides)
    return perturb(BriVLForPreTraining(config)).train()


def inputs(count):
    mask = torch.ones(count, 7, dtype=torch.int64)
    mask[0, 4:] = 0
    batch = {"input_ids": texts(count), "attention_mask": mask, "pixel_values": images(count)}
    return batch | {"group_ids": torch.arange(count) // 2}


def step(model, count=7):
    output = model(**inputs(count))
    output.loss.backward()
    return output, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("in_batch_negatives", [False, True])
@pytest.mark.parametrize("vision", [None, FROZEN], ids=["all trains", "frozen trunk"])
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 16])
def test_chunks_equal_the_whole(chunk_size, vision, in_batch_negatives):
    settings = {"vision": vision, "in_batch_negatives": in_batch_negatives}
    expected, expected_gradients = step(build_model(0, **settings))
    output, gradients = step(build_model(chunk_size, **settings))
    torch.testing.assert_close(output.loss, expected.loss, atol=1e-6, rtol=1e-6)
    assert output.logits_per_image.shape == expected.logits_per_image.shape
    assert set(gradients) == set(expected_gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-6, rtol=1e-5, msg=name)


def test_query_towers_run_twice_on_each_chunk_and_the_others_once():
    model, runs = build_model(3, vision=FROZEN), []
    for name, module in model.named_modules():
        if name.endswith(("vision_model.encoder.layers.0", "backbone.blocks.0")):
            module.register_forward_pre_hook(lambda module, args, name=name: runs.append((name, len(args[0]))))
    step(model, count=7)
    query = [size for name, size in runs if name == "brivl.vision_model.encoder.layers.0"]
    assert query == [3, 3, 1, 1, 3, 3]  # the backward pass begins with the last chunk
    assert [size for name, size in runs if name == "momentum_vision_model.encoder.layers.0"] == [3, 3, 1]
    assert [size for name, size in runs if name == "brivl.vision_model.backbone.blocks.0"] == [3, 3, 1]


def test_all_keys_wait_for_the_queue():
    model = build_model(3)
    output, _ = step(model, count=7)
    image_keys, _, group_ids = model.pop_keys()
    assert torch.equal(image_keys, output.image_keys)
    assert group_ids.tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_evaluation_in_chunks_gives_the_same_loss():
    whole, chunked = build_model(0).eval(), build_model(3).eval()
    with torch.no_grad():
        torch.testing.assert_close(chunked(**inputs(7)).loss, whole(**inputs(7)).loss)


def test_chunks_with_batch_statistics_are_refused():
    with pytest.raises(Exception, match="train_batch_norm"):
        tiny_config(contrastive_chunk_size=4)
