"""BriVL's own attention layers compute what PyTorch's do, and serve what is built upon transformers' layers."""

import copy

import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, BriVLTextConfig
from wenlan.modeling_brivl.pooled_encoder import BriVLEncoder

MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]])
BATCH = {"input_ids": texts(3), "attention_mask": MASK, "pixel_values": images(3)}


@pytest.fixture
def model():
    return perturb(BriVLModel(tiny_config()))


def embed(model, **more):
    output = model(**BATCH, **more)
    return torch.cat([output.text_embeds, output.image_embeds])


def pytorch_layers(config):
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            config.hidden_size,
            config.num_attention_heads,
            dim_feedforward=config.intermediate_size,
            dropout=config.hidden_dropout_prob,
            layer_norm_eps=config.layer_norm_eps,
            batch_first=True,
        )
        for _ in range(config.num_hidden_layers)
    )


@pytest.mark.parametrize("mask", [MASK, torch.ones(3, 7)], ids=["padded", "full"])
def test_training_is_bitwise_that_of_pytorchs_layers_with_the_same_seed(mask):
    text = tiny_config(text={"hidden_dropout_prob": 0.2}).text_config
    text._attn_implementation = "sdpa"
    torch.manual_seed(3)
    ours = BriVLEncoder(text).train()
    torch.manual_seed(3)
    theirs = pytorch_layers(text).train()
    assert list(ours.layers.state_dict()) == list(theirs.state_dict())
    pairs = zip(ours.layers.state_dict().items(), theirs.state_dict().values(), strict=True)
    different = {name for (name, one), other in pairs if not torch.equal(one, other)}
    assert different == {"0.self_attn.out_proj.bias", "1.self_attn.out_proj.bias"}  # `post_init` makes them zero
    theirs.load_state_dict(ours.layers.state_dict())
    vectors = torch.randn(3, 7, 20)
    torch.manual_seed(4)
    states = ours(vectors, mask).last_hidden_state
    torch.manual_seed(4)
    expected = nn.functional.normalize(vectors, dim=-1)
    for layer in theirs:
        expected = layer(expected, src_key_padding_mask=mask == 0)
    assert torch.equal(states[mask.bool()], expected[mask.bool()])
    for result in (states, expected):
        result[mask.bool()].square().sum().backward()
    for (name, one), other in zip(ours.layers.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name


@pytest.mark.parametrize("function", ["eager", "sdpa"])
@torch.no_grad()
def test_every_attention_function_gives_the_same_embeddings(model, function):
    expected = embed(model)
    model.set_attn_implementation(function)
    assert {m.config._attn_implementation for m in model.modules() if hasattr(m, "in_proj_weight")} == {function}
    torch.testing.assert_close(embed(model), expected, atol=1e-6, rtol=0)


def test_towers_open_with_different_functions_and_none_from_a_repository(model, tmp_path):
    model.save_pretrained(tmp_path)
    opened = BriVLModel.from_pretrained(tmp_path, attn_implementation={"text_config": "eager"})
    parts = opened.text_model, opened.text_model.backbone, opened.vision_model
    assert [part.config._attn_implementation for part in parts] == ["eager", "eager", "sdpa"]
    with pytest.raises(ValueError, match="give sdpa, eager or another known one"):
        BriVLModel.from_pretrained(tmp_path, attn_implementation={"text_config": "somebody/kernels"})


def test_towers_may_attend_by_different_functions(model):
    expected = embed(model)
    model.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    output = model(**BATCH, output_attentions=True)
    assert len(output.text_model_output.attentions) == 2
    assert output.vision_model_output.attentions == ()
    torch.testing.assert_close(embed(model), expected, atol=1e-6, rtol=0)


LORA = {"all linear": {"target_modules": "all-linear"}, "in_proj": {"target_parameters": ["self_attn.in_proj_weight"]}}


@pytest.mark.parametrize("kind", LORA)
def test_lora_gives_the_same_with_and_without_gradient_and_merged(model, kind, tmp_path):
    before = embed(model).detach()
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(r=2, init_lora_weights=False, **LORA[kind])).eval()
    moved = embed(adapted).detach()
    assert (moved - before).abs().max() > 0.01
    with torch.no_grad():
        torch.testing.assert_close(embed(adapted), moved, atol=1e-6, rtol=0)
    adapted.save_pretrained(tmp_path)
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(embed(merged).detach(), moved, atol=1e-5, rtol=0)
    assert merged.state_dict().keys() == model.state_dict().keys()
    again = PeftModel.from_pretrained(model, tmp_path).eval()
    torch.testing.assert_close(embed(again).detach(), moved, atol=1e-6, rtol=0)


def test_lora_on_all_linear_layers_reaches_each_of_them_and_each_has_an_effect(model):
    names = {"linear1", "linear2", "out_proj", "fc1", "fc2", "region_projection"}
    for name in names:
        adapted = get_peft_model(
            copy.deepcopy(model), LoraConfig(r=2, init_lora_weights=False, target_modules=[name])
        ).eval()
        moved = embed(adapted).detach()
        assert (moved - embed(model)).abs().max() > 1e-4, name
        with torch.no_grad():
            torch.testing.assert_close(embed(adapted), moved, atol=1e-6, rtol=0)
        torch.testing.assert_close(embed(adapted.merge_and_unload()), moved, atol=1e-5, rtol=0)


def test_dynamically_quantised_model_stays_near(model):
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    with torch.no_grad():
        cosine = (embed(quantised) * embed(model)).sum(dim=1)
    assert cosine.min() > 0.9
    assert "quantized" in type(quantised.text_model.encoder.layers[0].linear1).__module__


def test_model_whose_weights_lie_on_disk_gives_the_same(model, tmp_path):
    expected = embed(model).detach()
    model.save_pretrained(tmp_path / "model")
    places = {"text_model": "disk", "vision_model.backbone": "cpu", "vision_model.region_projection": "cpu"}
    for rest in ({"vision_model.encoder": "disk"}, {"vision_model.encoder": "cpu"}):
        loaded = BriVLModel.from_pretrained(
            tmp_path / "model", device_map=places | rest, offload_folder=tmp_path / "offload"
        )
        assert loaded.text_model.encoder.layers[0].self_attn.in_proj_weight.device.type == "meta"
        with torch.no_grad():
            torch.testing.assert_close(embed(loaded), expected, atol=1e-6, rtol=0)


def test_layers_are_never_split_over_devices(model):
    assert {"BriVLEncoderLayer", "BertLayer"} <= set(model._no_split_modules)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_training_gives_the_same_gradients(reentrant):
    config = tiny_config({"hidden_dropout_prob": 0.2, "train_batch_norm": False}, {"hidden_dropout_prob": 0.2})
    model = perturb(BriVLModel(config)).train()

    def gradients():
        model.zero_grad()
        torch.manual_seed(5)
        model(**BATCH, return_loss=True).loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    expected = gradients()
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    torch.testing.assert_close(gradients(), expected, atol=1e-6, rtol=1e-5)


def test_model_of_one_size_may_have_heads_of_any_number():
    for heads in (1, 4, 20):
        model = perturb(BriVLModel(tiny_config(text={"num_attention_heads": heads})))
        output = model.get_text_features(texts(3), output_attentions=True)
        assert output.pooler_output.shape == (3, 24)


# --- resizing the token embeddings


@pytest.mark.parametrize("size", [70, 40])
@pytest.mark.parametrize("frozen", [None, ["layer.1"], ["embeddings"]], ids=str)
def test_resized_model_is_saved_and_opened_again(size, frozen, tmp_path):
    model = perturb(BriVLForPreTraining(tiny_config(text={"trainable_backbone": frozen})))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.resize_token_embeddings(size, mean_resizing=False)
    name = "backbone.embeddings.word_embeddings.weight"
    query = model.brivl.text_model.get_parameter(name)
    assert query.shape == (size, 20)
    assert query.requires_grad is (frozen != ["layer.1"])
    kept = min(size, 61)
    assert torch.equal(query[:kept], before[f"brivl.text_model.{name}"][:kept])
    if frozen != ["layer.1"]:  # else the momentum tower has no embeddings of its own
        momentum = model.momentum_text_model.get_parameter(name)
        assert not momentum.requires_grad
        assert torch.equal(momentum[:kept], before[f"momentum_text_model.{name}"][:kept])
        assert torch.equal(momentum[kept:], query[kept:])
    model.update_momentum()
    assert model.config.get_text_config().vocab_size == size
    assert model.config.text_config.encoder_config.vocab_size == size
    model.save_pretrained(tmp_path)
    expected = model.state_dict()
    for loaded in (BriVLForPreTraining.from_pretrained(tmp_path), BriVLModel.from_pretrained(tmp_path)):
        for name, tensor in loaded.state_dict().items():
            prefix = "brivl." if isinstance(loaded, BriVLModel) else ""
            assert torch.equal(tensor, expected[prefix + name]), name


def test_resized_tower_is_saved_and_opened_again(model, tmp_path):
    tower = model.text_model
    tower.resize_token_embeddings(65)
    tower.save_pretrained(tmp_path)
    again = type(tower).from_pretrained(tmp_path)
    new = torch.tensor([[64, 63]])
    torch.testing.assert_close(again(new).pooler_output, tower(new).pooler_output, atol=1e-6, rtol=0)


def test_folder_that_was_resized_before_can_be_opened(model, tmp_path):
    """Such a folder holds the new size beside `encoder_config`, which kept the old one."""
    model.resize_token_embeddings(70)
    values = model.config.text_config.to_dict()
    values["encoder_config"]["vocab_size"] = 61
    assert BriVLTextConfig(**values, vocab_size=70).encoder_config.vocab_size == 70


def test_width_of_the_text_encoder_is_said_once():
    values = tiny_config().text_config.to_dict()
    assert BriVLTextConfig(**values, hidden_size=20).hidden_size == 20
    with pytest.raises(ValueError, match="hidden_size is that of the text encoder"):
        BriVLTextConfig(**values, hidden_size=21)
