"""What the tower promises whatever its weights: padding, order of regions, absent parts, precision, compilers."""

import pytest
import torch
from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.perturb import perturb
from wenlan.modeling_mlmm import MLMMModel

TOLERANCE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module", params=["sdpa", "eager", "mean"])
def tower(request):
    is_mean = request.param == "mean"
    options = {"pooling": "mean"} if is_mean else {"attn_implementation": request.param}
    return perturb(MLMMModel(tiny_config(**options)))


@pytest.fixture(params=[True, False], ids=["unpadded", "as it is"])
def unpadded(request, tower, monkeypatch):
    monkeypatch.setattr(tower.config, "compact_batches", request.param)


@torch.no_grad()
def run(model, **inputs):
    return model(**inputs)


def assert_same_real_states(first, second, batch):
    """Compares the states of what is real in `batch`; the second output may have more padding."""
    texts, regions = batch["attention_mask"].bool(), batch["region_attention_mask"].bool()
    text_states, region_states = second.text_states[:, : texts.shape[1]], second.region_states[:, : regions.shape[1]]
    torch.testing.assert_close(text_states[texts], first.text_states[texts], **TOLERANCE)
    torch.testing.assert_close(region_states[regions], first.region_states[regions], **TOLERANCE)
    torch.testing.assert_close(second.pooler_output, first.pooler_output, **TOLERANCE)


def test_longer_padding_of_text_and_more_padded_regions_change_nothing(tower, unpadded):
    batch = tiny_batch()
    padded = tiny_batch(pad_text=5, pad_regions=3)
    assert_same_real_states(run(tower, **batch), run(tower, **padded), batch)


def test_what_stands_in_padding_changes_nothing(tower, unpadded):
    batch = tiny_batch()
    dirty = tiny_batch()
    dirty["region_features"][0, 2:] = 1e3
    dirty["region_boxes"][0, 2:] = -5
    assert_same_real_states(run(tower, **batch), run(tower, **dirty), batch)


def test_each_pair_alone_has_the_states_it_has_in_the_batch(tower, unpadded):
    batch = tiny_batch()
    output = run(tower, **batch)
    for row, (length, count) in enumerate([(7, 2), (3, 6), (5, 4)]):
        alone = run(
            tower,
            input_ids=batch["input_ids"][row : row + 1, :length],
            region_features=batch["region_features"][row : row + 1, :count],
            region_boxes=batch["region_boxes"][row : row + 1, :count],
        )
        torch.testing.assert_close(alone.text_states[0], output.text_states[row, :length], **TOLERANCE)
        torch.testing.assert_close(alone.region_states[0], output.region_states[row, :count], **TOLERANCE)
        torch.testing.assert_close(alone.pooler_output[0], output.pooler_output[row], **TOLERANCE)


def test_text_padded_on_the_left_has_the_same_states(tower, unpadded):
    batch = tiny_batch()
    left = dict(batch)
    for name in ("input_ids", "attention_mask"):
        left[name] = torch.stack([row.roll(7 - n) for row, n in zip(batch[name], (7, 3, 5), strict=True)])
    output, shifted = run(tower, **batch), run(tower, **left)
    mask, shifted_mask = batch["attention_mask"].bool(), left["attention_mask"].bool()
    torch.testing.assert_close(shifted.text_states[shifted_mask], output.text_states[mask], **TOLERANCE)
    torch.testing.assert_close(shifted.pooler_output, output.pooler_output, **TOLERANCE)


def test_permuted_regions_permute_their_states_and_leave_the_text(tower, unpadded):
    batch = tiny_batch()
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    moved = {name: value[:, order] if name.startswith("region") else value for name, value in batch.items()}
    output, permuted = run(tower, **batch), run(tower, **moved)
    mask = moved["region_attention_mask"].bool()
    torch.testing.assert_close(permuted.region_states[mask], output.region_states[:, order][mask], **TOLERANCE)
    torch.testing.assert_close(permuted.pooler_output, output.pooler_output, **TOLERANCE)


def test_permuted_regions_permute_the_attentions():
    tower = perturb(MLMMModel(tiny_config(attn_implementation="eager")))
    batch = tiny_batch(lengths=(5, 5), counts=(6, 6))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    joint = torch.cat([torch.arange(5), 5 + order])
    moved = {name: value[:, order] if name.startswith("region") else value for name, value in batch.items()}
    before = run(tower, **batch, output_attentions=True).attentions
    after = run(tower, **moved, output_attentions=True).attentions
    assert len(before) == 2
    for original, permuted in zip(before, after, strict=True):
        torch.testing.assert_close(permuted, original[:, :, joint][:, :, :, joint], **TOLERANCE)
        assert (original[:, :, joint] - original).abs().max() > 1e-3


@pytest.mark.parametrize(("pooling", "rows"), [("cls", slice(0, 1)), ("mean", slice(None))])
def test_pooler_reads_what_the_configuration_says(pooling, rows):
    """Of the text alone, where there is one: the pooler's layer on the first state, or on the mean of all."""
    tower = perturb(MLMMModel(tiny_config(pooling=pooling)))
    batch = tiny_batch(lengths=(6, 6), counts=(3, 3))
    images = {name: value for name, value in batch.items() if name.startswith("region")}
    for output, states in (
        (found := run(tower, **batch), found.text_states),
        (found := run(tower, **images), found.region_states),
    ):
        expected = tower.pooler.dense(states[:, rows].mean(dim=1)).tanh()
        torch.testing.assert_close(output.pooler_output, expected, **TOLERANCE)


def test_permuted_words_change_the_states(tower):
    batch = tiny_batch()
    moved = {**batch, "input_ids": batch["input_ids"][:, [1, 0, 2, 3, 4, 5, 6]]}
    assert (run(tower, **moved).pooler_output - run(tower, **batch).pooler_output).abs().max() > 1e-3


def test_image_without_regions_gives_the_states_of_its_text_alone(tower, unpadded):
    batch = tiny_batch(counts=(2, 0, 4))
    output = run(tower, **batch)
    alone = run(tower, input_ids=batch["input_ids"][1:2, :3])
    torch.testing.assert_close(output.text_states[1:2, :3], alone.text_states, **TOLERANCE)
    torch.testing.assert_close(output.pooler_output[1:2], alone.pooler_output, **TOLERANCE)
    assert output.last_hidden_state.isfinite().all()


def test_batch_whose_images_all_lack_regions_is_text_alone(tower, unpadded):
    batch = tiny_batch(counts=(0, 0, 0))
    assert batch["region_features"].shape[1] == 0
    output = run(tower, **batch)
    alone = run(tower, input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    mask = batch["attention_mask"].bool()
    torch.testing.assert_close(output.text_states[mask], alone.text_states[mask], **TOLERANCE)
    assert output.region_states.shape == (3, 0, 24)


def test_text_of_padding_alone_gives_the_states_of_its_image_alone(tower, unpadded):
    batch = tiny_batch()
    batch["attention_mask"][1] = 0
    output = run(tower, **batch)
    alone = run(tower, **{name: value[1:2] for name, value in batch.items() if name.startswith("region")})
    torch.testing.assert_close(output.pooler_output[1:2], alone.pooler_output, **TOLERANCE)


def test_images_alone_need_no_text(tower, unpadded):
    batch = {name: value for name, value in tiny_batch().items() if name.startswith("region")}
    output = run(tower, **batch)
    assert output.text_states is None
    assert output.region_states.shape == (3, 6, 24)
    assert output.last_hidden_state.isfinite().all()


def test_hidden_feature_is_hidden_and_its_box_is_not(tower):
    batch = tiny_batch()
    masked = torch.zeros(3, 6, dtype=torch.bool)
    masked[1, 2] = True
    hidden = run(tower, **batch, masked_regions=masked).last_hidden_state
    other_feature = {**batch, "region_features": batch["region_features"].clone()}
    other_feature["region_features"][1, 2] += 7
    other_box = {**batch, "region_boxes": batch["region_boxes"].clone()}
    other_box["region_boxes"][1, 2] += 7
    assert torch.equal(run(tower, **other_feature, masked_regions=masked).last_hidden_state, hidden)
    assert (run(tower, **other_box, masked_regions=masked).last_hidden_state - hidden).abs().max() > 1e-3
    assert (run(tower, **batch).last_hidden_state - hidden).abs().max() > 1e-3


def test_output_as_a_tuple_begins_with_the_joint_states(tower):
    batch = tiny_batch()
    joint, pooled, *_ = run(tower, **batch, return_dict=False)
    assert joint.shape == (3, 7 + 6, 24)
    assert pooled.shape == (3, 24)


def test_set_attention_implementation_reaches_the_layers():
    tower = MLMMModel(tiny_config(attn_implementation="sdpa"))
    tower.set_attn_implementation("eager")
    attentions = run(tower, **tiny_batch(), output_attentions=True).attentions
    assert [tuple(attention.shape) for attention in attentions] == [(3, 3, 13, 13)] * 2


def test_gradient_checkpointing_gives_the_same_gradients():
    tower = perturb(MLMMModel(tiny_config())).train()
    gradients = []
    for enable in (False, True):
        if enable:
            tower.activation_checkpointing_enable()
            assert tower.encoder.layer[0].gradient_checkpointing
        tower.zero_grad()
        tower(**tiny_batch()).pooler_output.square().sum().backward()
        gradients.append([p.grad.clone() for p in tower.parameters() if p.grad is not None])
    assert len(gradients[0]) > 30
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_bfloat16_is_finite_and_near(tower, unpadded):
    batch = tiny_batch()
    expected = run(tower, **batch)
    half = MLMMModel(tower.config)
    half.load_state_dict(tower.state_dict())
    actual = run(half.to(torch.bfloat16).eval(), **batch)
    assert actual.last_hidden_state.dtype == torch.bfloat16
    assert actual.last_hidden_state.isfinite().all()
    torch.testing.assert_close(actual.pooler_output.float(), expected.pooler_output, atol=0.05, rtol=0)


def test_autocast_is_near(tower):
    batch = tiny_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = run(tower, **batch)
    torch.testing.assert_close(actual.pooler_output.float(), run(tower, **batch).pooler_output, atol=0.05, rtol=0)


@pytest.mark.slow
def test_forward_compiles_without_a_graph_break(tower):
    batch = tiny_batch()
    compiled = torch.compile(tower, backend="eager", fullgraph=True)
    assert_same_real_states(run(tower, **batch), run(compiled, **batch), batch)


def test_new_weights_are_small_and_norms_are_one():
    tower = MLMMModel(tiny_config(hidden_size=48))
    assert tower.region_embeddings.mask_feature.abs().max() > 0
    assert tower.text_embeddings.word_embeddings.weight[1].abs().max() == 0
    for name, parameter in tower.named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif "norm" in name.lower():
            assert (parameter == 1).all(), name
        else:
            assert parameter.abs().max() < 0.15, name


def test_epsilons_stand_where_the_configuration_says():
    tower = MLMMModel(tiny_config(layer_norm_eps=1e-5, encoder_layer_norm_eps=1e-12))
    epsilons = {name: module.eps for name, module in tower.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    assert {eps for name, eps in epsilons.items() if name.startswith("encoder.")} == {1e-12}
    assert {eps for name, eps in epsilons.items() if not name.startswith("encoder.")} == {1e-5}
