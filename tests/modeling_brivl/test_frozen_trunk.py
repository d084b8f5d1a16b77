"""The trunk that query and momentum towers share gives what two copies of it give."""

import pytest
import torch
from helpers.brivl.tiny import TINY_BERT, images, texts, tiny_config
from helpers.perturb import perturb
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLTextModel, BriVLVisionModel, frozen_trunk
from wenlan.modeling_brivl.frozen_trunk import backbone_stages, run_text_stages, trunk_depth

BLOCKS = ["blocks.3", "blocks.4"]
ENCODER = {**TINY_BERT, "num_hidden_layers": 3}


def build_pair(vision=None, text=None):
    """Returns the same model twice: with two copies of the trunk, and with one. Momentum differs where it may."""
    vision = {"trainable_backbone": BLOCKS, **(vision or {})}
    text = {"trainable_backbone": ["layer.2"], "encoder_config": ENCODER, **(text or {})}
    shared = perturb(BriVLForPreTraining(tiny_config(vision, text)))
    two_copies = BriVLForPreTraining(tiny_config(vision, text, share_frozen_trunk=False))
    two_copies.load_state_dict(shared.state_dict(), strict=False)
    for momentum_tower, query_tower in two_copies._towers:
        trunk = list(backbone_stages(query_tower.backbone).items())[: query_tower.trunk_depth]
        for name, stage in trunk:
            momentum_tower.backbone.get_submodule(name).load_state_dict(stage.state_dict())
    return two_copies, shared


def inputs(count=4):
    mask = torch.ones(count, 7, dtype=torch.int64)
    mask[0, 4:] = 0
    return {"input_ids": texts(count), "attention_mask": mask, "pixel_values": images(count)}


def step(model):
    """Returns loss and gradients of a training step, and the batch norm statistics after it."""
    model.train().zero_grad()
    output = model(**inputs())
    output.loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return output, gradients, {name: b for name, b in model.named_buffers() if "running" in name}


@pytest.mark.parametrize("attend_padding", [False, True])
@pytest.mark.parametrize("train_frozen_batch_norm", [False, True])
def test_loss_keys_and_gradients_equal_those_of_two_copies(train_frozen_batch_norm, attend_padding):
    two_copies, shared = build_pair(
        {"train_frozen_batch_norm": train_frozen_batch_norm}, {"attend_padding": attend_padding}
    )
    expected, expected_gradients, expected_statistics = step(two_copies)
    output, gradients, statistics = step(shared)
    for name in ("loss", "image_keys", "text_keys", "image_embeds", "text_embeds"):
        torch.testing.assert_close(output[name], expected[name], atol=1e-6, rtol=1e-6)
    assert set(gradients) == set(expected_gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-6, rtol=1e-5, msg=name)
    for name, tensor in statistics.items():
        torch.testing.assert_close(tensor, expected_statistics[name], atol=1e-6, rtol=1e-6, msg=name)


def test_trunk_runs_once_a_step_and_the_branch_in_both_towers():
    _, shared = build_pair()
    runs = []
    for name, module in shared.named_modules():
        if name.endswith(("backbone.blocks.1", "backbone.blocks.3", "encoder.layer.0", "encoder.layer.2")):
            module.register_forward_pre_hook(lambda module, args, name=name: runs.append(name))
    shared(**inputs())
    assert sorted(name for name in runs if name.startswith("brivl.")) == [
        "brivl.text_model.backbone.encoder.layer.0",
        "brivl.text_model.backbone.encoder.layer.2",
        "brivl.vision_model.backbone.blocks.1",
        "brivl.vision_model.backbone.blocks.3",
    ]
    assert sorted(name for name in runs if name.startswith("momentum_")) == [
        "momentum_text_model.backbone.encoder.layer.2",
        "momentum_vision_model.backbone.blocks.3",
    ]


def test_momentum_towers_hold_no_trunk():
    two_copies, shared = build_pair()
    gone = set(two_copies.state_dict()) - set(shared.state_dict())
    assert "momentum_vision_model.backbone.conv_stem.weight" in gone
    assert "momentum_text_model.backbone.embeddings.word_embeddings.weight" in gone
    assert all(name.startswith("momentum_") for name in gone)
    assert not any("blocks.3" in name or "conv_head" in name or "layer.2" in name for name in gone)


def test_shared_checkpoint_is_saved_and_loaded_bit_for_bit(tmp_path):
    _, shared = build_pair()
    shared.save_pretrained(tmp_path)
    loaded, info = BriVLForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    saved, state = shared.state_dict(), loaded.state_dict()
    assert [name for name in saved if not torch.equal(saved[name], state[name])] == []


def test_checkpoint_of_two_copies_opens_with_a_shared_trunk(tmp_path):
    two_copies, shared = build_pair()
    two_copies.save_pretrained(tmp_path)
    loaded = BriVLForPreTraining.from_pretrained(tmp_path, share_frozen_trunk=True).eval()
    torch.testing.assert_close(loaded(**inputs()).loss, shared.eval()(**inputs()).loss)


def test_pixels_get_a_gradient_through_a_frozen_trunk():
    """Visualisations move pixels, with every parameter frozen."""
    _, shared = build_pair()
    batch = inputs()
    batch["pixel_values"].requires_grad_()
    shared.eval()(**batch).loss.backward()
    assert batch["pixel_values"].grad.abs().max() > 0


@pytest.mark.parametrize(
    ("trainable", "depth"), [(None, 0), (["conv_stem"], 0), (["blocks.0"], 2), (BLOCKS, 5), (["conv_head"], 7), ([], 9)]
)
def test_depth_of_the_image_trunk_is_the_number_of_leading_frozen_stages(trainable, depth):
    tower = BriVLVisionModel(tiny_config().vision_config)
    assert len(backbone_stages(tower.backbone)) == 9
    assert trunk_depth(tower.backbone, trainable) == depth


@pytest.mark.parametrize(("trainable", "depth"), [(None, 0), (["embeddings"], 0), (["layer.1"], 2), ([], 3)])
def test_depth_of_the_text_trunk_is_the_number_of_leading_frozen_stages(trainable, depth):
    tower = BriVLTextModel(tiny_config().text_config)
    assert trunk_depth(tower.backbone, trainable) == depth


def test_backbone_that_is_no_chain_of_stages_has_no_trunk_and_still_trains():
    encoder = {"model_type": "distilbert", "vocab_size": 61, "dim": 20, "n_layers": 2, "n_heads": 2, "hidden_dim": 28}
    config = tiny_config({"trainable_backbone": []}, {"encoder_config": encoder, "trainable_backbone": ["layer.1"]})
    model = BriVLForPreTraining(config)
    assert model.brivl.text_model.trunk_depth == 0
    model.train()(**inputs()).loss.backward()
    assert model.momentum_text_model.backbone.embeddings.word_embeddings.weight.shape == (61, 20)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_stages_one_after_the_other_are_the_encoder(model_type, attention):
    values = {name: value for name, value in ENCODER.items() if name != "model_type"}
    config = CONFIG_MAPPING[model_type](**values, pad_token_id=0)
    encoder = perturb(AutoModel.from_config(config, attn_implementation=attention))
    ids, mask = texts(4), inputs()["attention_mask"]
    for attended in (mask, None):
        states = run_text_stages(encoder, ids, attended, slice(0, 2))
        states = run_text_stages(encoder, states, attended, slice(2, None))
        expected = encoder(input_ids=ids, attention_mask=attended).last_hidden_state
        torch.testing.assert_close(states, expected, atol=1e-6, rtol=0)


def test_many_texts_run_in_groups_of_like_length_as_each_alone():
    encoder = perturb(AutoModel.from_config(AutoConfig.for_model(**ENCODER))).eval()
    lengths = torch.randint(2, 5, (100,), generator=torch.Generator().manual_seed(0))
    lengths[17] = 12
    mask = (torch.arange(12) < lengths[:, None]).long()
    mask[:, 0] = mask[17, 3] = 0  # hidden tokens before the end
    ids = texts(100, length=12)
    positions = []
    for layer in encoder.encoder.layer:
        layer.register_forward_pre_hook(lambda _, args: positions.append(args[0].shape[:2].numel()))
    with torch.no_grad():
        states = run_text_stages(encoder, ids, mask, slice(None))
        assert sum(positions) < 0.6 * mask.numel() * len(encoder.encoder.layer)
        for row, own, seen, length in zip(states, ids, mask, lengths.tolist(), strict=True):
            alone = run_text_stages(encoder, own[None, :length], seen[None, :length], slice(None))[0]
            real = seen[:length].bool()
            torch.testing.assert_close(row[:length][real], alone[real], atol=1e-5, rtol=1e-5)
    assert states.shape == (100, 12, encoder.config.hidden_size)


def test_gradients_of_groups_are_those_of_the_batch(monkeypatch):
    config = AutoConfig.for_model(**ENCODER)
    encoder = perturb(AutoModel.from_config(config))
    mask = (torch.arange(9) < torch.randint(2, 10, (80, 1), generator=torch.Generator().manual_seed(0))).long()
    ids = torch.randint(1, config.vocab_size, mask.shape, generator=torch.Generator().manual_seed(1))

    def gradients():
        encoder.zero_grad()
        (run_text_stages(encoder, ids, mask, slice(None)) * mask[..., None]).square().sum().backward()
        return {name: one.grad.clone() for name, one in encoder.named_parameters() if one.grad is not None}

    grouped = gradients()
    monkeypatch.setattr(frozen_trunk, "MIN_GROUP", 1000)
    for name, gradient in gradients().items():
        torch.testing.assert_close(grouped[name], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mask", [torch.ones(100, 6), torch.eye(6).flip(0)[:1].repeat(100, 1), torch.eye(6)])
def test_texts_without_padding_at_the_end_and_few_ones_stay_together(mask):
    assert frozen_trunk._like_lengths(mask.long()) == []
