import copy
import subprocess
import sys

import pytest
import torch
from helpers.brivl.tiny import IMAGE_SIZE, TEXT_LENGTH, TINY_BERT, images, texts, tiny_config
from helpers.perturb import perturb
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLModel, BriVLTextModel, BriVLVisionModel


def build_model(vision=None, text=None, **overrides):
    return perturb(BriVLModel(tiny_config(vision, text, **overrides)))


@pytest.fixture
def model():
    return build_model()


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


# --- saving and loading


IN_ANOTHER_PROCESS = """
import sys
import torch
from safetensors.torch import load_file, save_file
from wenlan import BriVLModel
torch.set_num_threads(1)
with torch.no_grad():
    output = BriVLModel.from_pretrained(sys.argv[1])(**load_file(sys.argv[2]))
save_file({"text": output.text_embeds, "image": output.image_embeds}, sys.argv[3])
"""


@pytest.mark.slow
def test_another_process_gives_bitwise_equal_embeddings_from_the_saved_folder(model, folder):
    batch = {"input_ids": texts(3), "pixel_values": images(3)}
    with torch.no_grad():
        expected = model(**batch)
    save_file(batch, folder / "batch")
    arguments = [sys.executable, "-c", IN_ANOTHER_PROCESS, folder, folder / "batch", folder / "embeddings"]
    subprocess.run(arguments, check=True)
    loaded = load_file(folder / "embeddings")
    assert torch.equal(loaded["text"], expected.text_embeds)
    assert torch.equal(loaded["image"], expected.image_embeds)


@pytest.mark.parametrize("tower", [BriVLVisionModel, BriVLTextModel])
def test_single_tower_is_saved_and_loaded_bit_for_bit(model, tower, tmp_path):
    (part,) = [module for module in model.children() if isinstance(module, tower)]
    part.save_pretrained(tmp_path)
    saved, loaded = part.state_dict(), tower.from_pretrained(tmp_path).state_dict()
    assert [name for name in saved if not torch.equal(saved[name], loaded[name])] == []


def test_loaded_model_is_in_evaluation_mode(folder):
    assert not any(module.training for module in BriVLModel.from_pretrained(folder).modules())


def test_checkpoint_with_missing_weights_is_refused_with_their_names(folder):
    state = load_file(folder / "model.safetensors")
    for name in ("text_model.encoder.fc1.bias", "vision_model.region_projection.weight"):
        del state[name]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    names = r"lacks 2 weights of BriVLModel: text_model\.encoder\.fc1\.bias, vision_model\.region_projection\.weight"
    with pytest.raises(ValueError, match=names):
        BriVLModel.from_pretrained(folder)


def test_truncated_checkpoint_is_refused(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(OSError, match="damaged"):
        BriVLModel.from_pretrained(folder)


def test_loading_info_is_given_when_asked_for(folder):
    model, info = BriVLModel.from_pretrained(folder, output_loading_info=True)
    assert isinstance(model, BriVLModel)
    assert not info["missing_keys"]


# --- forward


@pytest.mark.parametrize("kind", ["text", "image"])
def test_batch_of_32_equals_one_by_one(model, kind):
    name, batch = ("input_ids", texts(32)) if kind == "text" else ("pixel_values", images(32))
    with torch.no_grad():
        together = model(**{name: batch})[f"{kind}_embeds"]
        apart = torch.cat([model(**{name: row[None]})[f"{kind}_embeds"] for row in batch])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def padded(ids, length):
    return {"input_ids": F.pad(ids, (0, length)), "attention_mask": F.pad(torch.ones_like(ids), (0, length))}


def test_padding_does_not_change_the_embedding_when_the_encoder_gets_the_mask(model):
    ids = texts(3, length=6)
    torch.testing.assert_close(model(**padded(ids, 4)).text_embeds, model(input_ids=ids).text_embeds, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frozen", [None, ["layer.1"]], ids=["all trains", "trunk"])
def test_text_has_one_embedding_however_it_is_padded_when_the_model_attends_to_padding(frozen):
    model = build_model(text={"attend_padding": True, "trainable_backbone": frozen})
    ids = texts(3, length=6)
    full = model(**padded(ids, TEXT_LENGTH - 6)).text_embeds
    assert torch.equal(model(input_ids=ids).text_embeds, full)
    assert torch.equal(model(**padded(ids, 3)).text_embeds, full)
    assert torch.equal(model(**padded(ids, TEXT_LENGTH)).text_embeds, full)
    trunk = model.text_model.run_trunk(ids)
    split = model.text_model(ids, trunk_states=trunk).pooler_output
    torch.testing.assert_close(F.normalize(split, dim=-1), full, atol=1e-6, rtol=0)
    model.config.text_config.attend_padding = False
    assert (model(input_ids=ids).text_embeds - full).abs().max() > 1e-3


def test_only_text_gives_text_embeddings_first(model):
    output = model(input_ids=texts(3))
    assert list(output) == ["text_embeds", "text_model_output"]
    assert output[0] is output.text_embeds
    assert output.text_embeds.shape == (3, 24)


def test_only_image_gives_image_embeddings_first(model):
    output = model(pixel_values=images(3))
    assert list(output) == ["image_embeds", "vision_model_output"]
    assert output[0] is output.image_embeds
    assert output.image_embeds.shape == (3, 24)


def test_embeddings_are_the_unit_vectors_of_the_features(model):
    output = model(input_ids=texts(3), pixel_values=images(2))
    for embeds, features in (
        (output.text_embeds, model.get_text_features(texts(3)).pooler_output),
        (output.image_embeds, model.get_image_features(images(2)).pooler_output),
    ):
        torch.testing.assert_close(embeds, features / features.norm(dim=1, keepdim=True))


def test_logits_are_cosines_over_the_temperature():
    model = build_model(temperature=0.25)
    output = model(input_ids=texts(3), pixel_values=images(2))
    torch.testing.assert_close(output.logits_per_image, output.image_embeds @ output.text_embeds.T / 0.25)
    assert torch.equal(output.logits_per_text, output.logits_per_image.T)


def test_image_embeddings_do_not_depend_on_the_texts(model):
    alone = model(pixel_values=images(3)).image_embeds
    assert torch.equal(model(pixel_values=images(3), input_ids=texts(5, seed=8)).image_embeds, alone)


def test_text_embeddings_do_not_depend_on_the_images(model):
    alone = model(input_ids=texts(3)).text_embeds
    assert torch.equal(model(pixel_values=images(5, seed=8), input_ids=texts(3)).text_embeds, alone)


def test_token_type_ids_are_accepted_and_change_nothing(model):
    ids = texts(3)
    alone = model(input_ids=ids).text_embeds
    assert torch.equal(model(input_ids=ids, token_type_ids=torch.ones_like(ids)).text_embeds, alone)


def test_tuple_is_returned_on_request(model):
    output = model(input_ids=texts(2), pixel_values=images(2), return_dict=False)
    assert isinstance(output, tuple)
    assert torch.equal(output[0], model(input_ids=texts(2), pixel_values=images(2)).logits_per_image)


def test_grid_of_the_config_equals_its_boxes_given_by_hand(model):
    half = IMAGE_SIZE / 2
    cells = [[x, y, x + half, y + half] for x in (0, half) for y in (0, half)]
    boxes = torch.tensor([[*cells, [0, 0, IMAGE_SIZE, IMAGE_SIZE]]]).expand(3, -1, -1)
    given = model(pixel_values=images(3), boxes=boxes).image_embeds
    torch.testing.assert_close(given, model(pixel_values=images(3)).image_embeds, atol=1e-6, rtol=0)


def test_masked_boxes_change_nothing(model):
    boxes = torch.tensor([[[0.0, 0.0, 30.0, 40.0], [10.0, 0.0, 70.0, 20.0]]])
    alone = model(pixel_values=images(1), boxes=boxes).image_embeds
    more = torch.cat([boxes, torch.tensor([[[5.0, 5.0, 50.0, 60.0], [0.0, 0.0, 0.0, 0.0]]])], dim=1)
    masked = model(pixel_values=images(1), boxes=more, box_mask=torch.tensor([[1, 1, 0, 0]])).image_embeds
    torch.testing.assert_close(masked, alone, atol=1e-6, rtol=0)


def test_single_box_is_enough(model):
    embeds = model(pixel_values=images(2), boxes=torch.tensor([[[3.0, 4.0, 50.0, 60.0]]] * 2)).image_embeds
    assert embeds.isfinite().all()


def test_text_over_the_limit_is_cut(model):
    ids = texts(2, length=TEXT_LENGTH + 3)
    cut = model(input_ids=ids[:, :TEXT_LENGTH]).text_embeds
    assert torch.equal(model(input_ids=ids, attention_mask=torch.ones_like(ids)).text_embeds, cut)


def test_loss_is_the_cross_entropy_of_both_directions_summed(model):
    output = model(input_ids=texts(3), pixel_values=images(3), return_loss=True)
    labels = torch.arange(3)
    expected = F.cross_entropy(output.logits_per_image, labels) + F.cross_entropy(output.logits_per_text, labels)
    torch.testing.assert_close(output.loss, expected)
    assert output[0] is output.loss


# --- wrong input


def test_pairs_of_one_group_are_not_each_others_negatives(model):
    batch = {"input_ids": texts(4), "pixel_values": images(4), "return_loss": True}
    output = model(**batch, group_ids=torch.tensor([5, 6, 5, -1]))
    logits = output.logits_per_image.clone()
    logits[0, 2] = logits[2, 0] = -torch.inf
    labels = torch.arange(4)
    torch.testing.assert_close(output.loss, F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def test_pairs_of_unknown_groups_stay_each_others_negatives(model):
    batch = {"input_ids": texts(4), "pixel_values": images(4), "return_loss": True}
    assert torch.equal(model(**batch, group_ids=torch.full((4,), -1)).loss, model(**batch).loss)


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 5), (2, 5, 4), (3, 5)])
def test_boxes_of_the_wrong_shape_are_refused(model, shape):
    with pytest.raises(ValueError, match=r"boxes must be \(3, regions, 4\)"):
        model(pixel_values=images(3), boxes=torch.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (3, 5, 1)])
def test_box_mask_of_the_wrong_shape_is_refused(model, shape):
    with pytest.raises(ValueError, match=r"box_mask must be \(3, 5\)"):
        model(pixel_values=images(3), boxes=torch.ones(3, 5, 4), box_mask=torch.ones(shape))


@pytest.mark.parametrize("shape", [(2, 3, 72, 64), (3, 72, 72)])
def test_pixels_that_are_not_a_batch_of_squares_are_refused(model, shape):
    with pytest.raises(ValueError, match="pixel_values must be"):
        model(pixel_values=torch.zeros(shape))


def test_neither_texts_nor_images_are_refused(model):
    with pytest.raises(ValueError, match="input_ids, pixel_values or both"):
        model()


def test_pixels_together_with_a_feature_map_are_refused(model):
    with pytest.raises(ValueError, match="either pixel_values or feature_map"):
        model(pixel_values=images(1), feature_map=torch.zeros(1, 32, 3, 3))


@pytest.mark.parametrize("batch", [{"input_ids": texts(2), "pixel_values": images(3)}, {"input_ids": texts(2)}])
def test_loss_without_pairs_is_refused(model, batch):
    with pytest.raises(ValueError, match="as many texts as images"):
        model(**batch, return_loss=True)


# --- encoders and modes


@pytest.mark.parametrize(
    "encoder",
    [
        {**TINY_BERT, "model_type": "roberta", "pad_token_id": 0},
        {**TINY_BERT, "model_type": "electra", "embedding_size": 14},
        {"model_type": "distilbert", "vocab_size": 61, "dim": 20, "n_layers": 2, "n_heads": 2, "hidden_dim": 28},
    ],
    ids=lambda encoder: encoder["model_type"],
)
def test_other_text_encoders_embed_and_reload(encoder, tmp_path):
    model = build_model(text={"encoder_config": encoder})
    model.save_pretrained(tmp_path)
    loaded = BriVLModel.from_pretrained(tmp_path)
    ids = texts(3)
    embeds = loaded(input_ids=ids).text_embeds
    assert torch.equal(embeds, model(input_ids=ids).text_embeds)
    torch.testing.assert_close(loaded(**padded(ids, 2)).text_embeds, embeds, atol=1e-6, rtol=0)


def test_states_of_all_layers_are_given_on_request(model):
    vision = model.vision_model(images(2), output_hidden_states=True)
    text = model.text_model(texts(2), output_hidden_states=True)
    assert [tuple(states.shape) for states in vision.hidden_states] == [(2, 5, 16)] * 3
    assert [tuple(states.shape) for states in text.hidden_states] == [(2, 7, 20)] * 3
    assert torch.equal(vision.hidden_states[-1], vision.last_hidden_state)


def gradients(model, **batch):
    model.train().zero_grad()
    model(**batch, return_loss=True).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_gradient_checkpointing_gives_the_same_gradients_in_both_towers():
    model = build_model(vision={"train_batch_norm": False})
    batch = {"input_ids": texts(3), "pixel_values": images(3)}
    expected = gradients(model, **batch)
    model.activation_checkpointing_enable()
    runs = []
    model.text_model.encoder.layers[0].linear1.register_forward_pre_hook(lambda *_: runs.append("text"))
    model.vision_model.encoder.layers[0].linear1.register_forward_pre_hook(lambda *_: runs.append("vision"))
    actual = gradients(model, **batch)
    assert sorted(runs) == ["text", "text", "vision", "vision"]  # once more in the backward pass
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_gradient_checkpointing_counts_batch_statistics_once():
    model, batch = build_model(), {"input_ids": texts(3), "pixel_values": images(3)}
    other = copy.deepcopy(model)
    expected = gradients(model, **batch)
    other.activation_checkpointing_enable()
    actual = gradients(other, **batch)
    moved = [not torch.equal(b, build_model().get_buffer(name)) for name, b in model.named_buffers()]
    assert any(moved)
    for (name, buffer), (_, repeated) in zip(model.named_buffers(), other.named_buffers(), strict=True):
        assert torch.equal(repeated, buffer), name
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_gradient_checkpointing_reaches_both_backbones_and_is_switched_off_again(model):
    model.activation_checkpointing_enable()
    assert model.vision_model.backbone.grad_checkpointing
    assert model.text_model.backbone.is_activation_checkpointing
    model.activation_checkpointing_disable()
    assert not model.vision_model.backbone.grad_checkpointing
    assert not model.is_activation_checkpointing


def test_bfloat16_embeddings_stay_near_those_of_float32(model):
    batch = {"input_ids": texts(4), "pixel_values": images(4)}
    expected = model(**batch)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    output = model.to(torch.bfloat16)(**batch)
    for name in ("text_embeds", "image_embeds"):
        assert (output[name].float() * expected[name]).sum(dim=1).min() > 0.98
    assert output.logits_per_image.dtype == torch.float32


def test_channels_last_gives_the_same_output_and_gradient(model):
    def gradient(model, pixel_values):
        model.zero_grad()
        features = model(pixel_values=pixel_values).image_embeds
        features[:, 0].sum().backward()
        return features, model.vision_model.backbone.conv_stem.weight.grad.clone()

    expected = gradient(model, images(2))
    channels_last = {"memory_format": torch.channels_last}
    actual = gradient(model.to(**channels_last), images(2).to(**channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["text_model", "vision_model"])
def test_compiled_tower_gives_the_same_output_without_graph_breaks(model, tower):
    tower, batch = getattr(model, tower), texts(2) if tower == "text_model" else images(2)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(tower, backend="eager", fullgraph=True)(batch).pooler_output
        torch.testing.assert_close(compiled, tower(batch).pooler_output, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["text_model", "vision_model"])
def test_trunk_and_branch_compile_without_graph_breaks(tower):
    model = build_model({"trainable_backbone": ["blocks.3", "blocks.4"]}, {"trainable_backbone": ["layer.1"]})
    tower, batch = getattr(model, tower), texts(2) if tower == "text_model" else images(2)

    def split(batch):
        return tower(batch, trunk_states=tower.run_trunk(batch)).pooler_output

    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(split, backend="eager", fullgraph=True)(batch)
        torch.testing.assert_close(compiled, tower(batch).pooler_output, atol=1e-6, rtol=0)


def attention_functions(model):
    """Returns what the layers of both towers and of the text encoder attend with."""
    towers = (model.text_model, model.vision_model)
    layers = [layer.self_attn for tower in towers for layer in tower.encoder.layers]
    layers += [layer.attention.self for layer in model.text_model.backbone.encoder.layer]
    return {layer.config._attn_implementation for layer in layers}


def test_all_layers_attend_with_sdpa_and_eager_gives_the_same(folder):
    default = BriVLModel.from_pretrained(folder)
    eager = BriVLModel.from_pretrained(folder, attn_implementation="eager")
    assert attention_functions(default) == {"sdpa"}
    assert attention_functions(eager) == {"eager"}
    batch = padded(texts(3, length=6), 3)
    torch.testing.assert_close(eager(**batch).text_embeds, default(**batch).text_embeds, atol=1e-6, rtol=0)


# --- batch norm and freezing


def statistics_after_a_training_forward(train_batch_norm):
    model = build_model(vision={"train_batch_norm": train_batch_norm})
    before = {name: b.clone() for name, b in model.named_buffers() if "running" in name}
    model.train()(pixel_values=images(3))
    return [not torch.equal(before[name], b) for name, b in model.named_buffers() if "running" in name]


def test_batch_norm_statistics_stay_without_train_batch_norm():
    assert not any(statistics_after_a_training_forward(False))


def test_batch_norm_statistics_move_with_train_batch_norm():
    assert all(statistics_after_a_training_forward(True))


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad and ".backbone." in name}


TWELVE_LAYERS = {**TINY_BERT, "num_hidden_layers": 12}


def test_statistics_of_frozen_batch_norms_stay_unless_asked_for():
    parts = {"trainable_backbone": ["blocks.3", "blocks.4"]}
    assert moved_statistics({**parts, "train_frozen_batch_norm": True}) == {"frozen", "trained"}
    assert moved_statistics(parts) == {"trained"}
    assert moved_statistics({**parts, "train_batch_norm": False}) == set()


def moved_statistics(vision):
    model = build_model(vision=vision)
    before = {name: b.clone() for name, b in model.named_buffers() if "running" in name}
    model.train()(pixel_values=images(3))
    moved = {name for name, b in model.named_buffers() if "running" in name and not torch.equal(before[name], b)}
    return {"trained" if ".blocks.3." in name or ".blocks.4." in name else "frozen" for name in moved}


def test_trainable_layer_1_is_not_layer_11():
    model = BriVLModel(tiny_config({"trainable_backbone": []}, text_with(["layer.1"])))
    layers = {name.split("layer.")[1].split(".")[0] for name in trainable(model)}
    assert layers == {"1"}


def text_with(parts):
    return {"trainable_backbone": parts, "encoder_config": TWELVE_LAYERS}


def test_trainable_block_1_is_not_block_11():
    model = BriVLModel(tiny_config({"trainable_backbone": ["blocks.1"]}, {"trainable_backbone": []}))
    model.vision_model.backbone.blocks.extend([torch.nn.Linear(2, 2) for _ in range(12 - 5)])
    model.freeze()
    blocks = {name.split("blocks.")[1].split(".")[0] for name in trainable(model)}
    assert blocks == {"1"}


def test_nothing_of_the_backbones_trains_with_empty_lists():
    model = BriVLModel(tiny_config({"trainable_backbone": []}, {"trainable_backbone": []}))
    assert trainable(model) == set()
    assert all(p.requires_grad for name, p in model.named_parameters() if ".backbone." not in name)


def test_everything_trains_by_default(model):
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_parameters_stay_frozen_after_loading(tmp_path):
    model = build_model({"trainable_backbone": ["blocks.3", "bn2"]}, {"trainable_backbone": ["layer.1"]})
    model.save_pretrained(tmp_path)
    assert trainable(BriVLModel.from_pretrained(tmp_path)) == trainable(model)


def test_new_model_keeps_the_initialisation_of_timm():
    model = BriVLModel(tiny_config())
    weight = model.vision_model.backbone.conv_head.weight
    fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
    assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    assert model.vision_model.region_projection.weight.std().item() == pytest.approx(0.02, rel=0.15)
