"""BriVL's models take and return what transformers' own do: keywords, hidden states, attentions, tuples."""

import copy
import inspect

import pytest
import torch
from helpers.brivl.tiny import IMAGE_SIZE, TEXT_LENGTH, images, texts, tiny_config
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from helpers.perturb import perturb
from transformers import AutoProcessor, Trainer, TrainingArguments
from transformers.utils import ModelOutput
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, BriVLVisionModel, MomentumQueueCallback

BATCH = {"input_ids": texts(3), "attention_mask": torch.ones(3, 7, dtype=torch.long), "pixel_values": images(3)}
RECORDED = {"output_hidden_states": True, "output_attentions": True}


@pytest.fixture(scope="module")
def model():
    model = perturb(BriVLModel(tiny_config()))
    model.set_attn_implementation("eager")
    return model


@pytest.fixture(scope="module")
def pretraining():
    model = perturb(BriVLForPreTraining(tiny_config(text={"trainable_backbone": ["layer.1"]})))
    model.set_attn_implementation("eager")
    return model


def calls(model, pretraining):
    """Returns all that takes keywords, as functions of keywords."""
    return {
        "model": lambda **given: model(**BATCH, **given),
        "pretraining": lambda **given: pretraining(**BATCH, **given),
        "text features": lambda **given: model.get_text_features(**BATCH, **given),
        "image features": lambda **given: model.get_image_features(**BATCH, **given),
        "text tower": lambda **given: model.text_model(**BATCH, **given),
        "vision tower": lambda **given: model.vision_model(**BATCH, **given),
        "texts alone": lambda **given: model(input_ids=BATCH["input_ids"], **given),
    }


def check_recorded(output, *, width, positions):
    assert [tuple(states.shape) for states in output.hidden_states] == [(3, positions, width)] * 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    assert [tuple(weights.shape) for weights in output.attentions] == [(3, 2, positions, positions)] * 2
    for weights in output.attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, positions))


def test_states_and_attentions_come_from_every_call_that_is_asked_for_them(model, pretraining):
    for name, call in calls(model, pretraining).items():
        output = call(**RECORDED)
        tower = output.get("text_model_output", output)
        if name not in ("image features", "vision tower"):
            check_recorded(tower, width=20, positions=7)
        if name not in ("text features", "text tower", "texts alone"):
            check_recorded(output.get("vision_model_output", output), width=16, positions=5)


def test_states_and_attentions_are_recorded_by_configuration_and_not_otherwise(model, pretraining):
    assert model(**BATCH).text_model_output.hidden_states is None
    model.config.vision_config.output_hidden_states = True
    try:
        output = model(**BATCH)
    finally:
        model.config.vision_config.output_hidden_states = False
    assert len(output.vision_model_output.hidden_states) == 3
    assert output.text_model_output.hidden_states is None
    some = model.get_image_features(**BATCH, output_hidden_states=[0, -1]).hidden_states
    assert [states is None for states in some] == [False, True, False]


def test_attentions_of_padding_are_zero_and_none_are_given_by_a_fused_function(model):
    mask = BATCH["attention_mask"].clone()
    mask[1:, 4:] = 0
    batch = {**BATCH, "attention_mask": mask}
    attentions = model.get_text_features(**batch, output_attentions=True).attentions
    assert attentions[0][1:, :, :, 4:].abs().max() == 0
    fused = perturb(BriVLModel(tiny_config()))
    assert fused.config._attn_implementation == "sdpa"
    output = fused.get_text_features(**batch, **RECORDED)
    assert output.attentions == ()
    assert len(output.hidden_states) == 3


def test_every_call_returns_a_tuple_of_the_same_on_request(model, pretraining):
    def flat(output):
        if isinstance(output, torch.Tensor):
            return [output]
        return [tensor for part in output for tensor in flat(part)]

    for name, call in calls(model, pretraining).items():
        output, plain = call(**RECORDED), call(**RECORDED, return_dict=False)
        assert isinstance(output, ModelOutput), name
        assert isinstance(plain, tuple), name
        assert not any(isinstance(part, ModelOutput) for part in plain), name
        for one, other in zip(flat(output.to_tuple()), flat(plain), strict=True):
            torch.testing.assert_close(one, other, msg=name)


def test_features_of_one_modality_take_a_batch_of_both(model):
    batch = {**BATCH, "boxes": torch.tensor([[[0.0, 0, 30, 40]]] * 3), "box_mask": torch.ones(3, 1)}
    batch |= {"token_type_ids": torch.zeros(3, 7, dtype=torch.long), "group_ids": torch.arange(3), "return_loss": True}
    text, image = model.get_text_features(**batch).pooler_output, model.get_image_features(**batch).pooler_output
    assert torch.equal(text, model.get_text_features(BATCH["input_ids"]).pooler_output)
    alone = model.get_image_features(BATCH["pixel_values"], batch["boxes"]).pooler_output
    assert torch.equal(image, alone)
    assert not torch.equal(image, model.get_image_features(BATCH["pixel_values"]).pooler_output)


@pytest.mark.parametrize("wrong", [{"output_hiden_states": True}, {"labels": torch.ones(3)}, {"bboxes": None}])
def test_unknown_keywords_are_refused_alike(model, pretraining, wrong):
    for call in calls(model, pretraining).values():
        with pytest.raises(TypeError, match=f"unexpected keyword arguments '{next(iter(wrong))}'"):
            call(**wrong)


def test_what_trainer_and_attention_functions_add_is_accepted_everywhere(model, pretraining):
    for name, call in calls(model, pretraining).items():
        given = call(num_items_in_batch=torch.tensor(3), use_cache=False, output_attentions=None)
        torch.testing.assert_close(given.to_tuple(), call().to_tuple(), msg=name)


def test_first_argument_is_the_main_input_of_every_model(model, pretraining):
    for one in (model, pretraining, model.text_model, model.vision_model):
        assert next(iter(inspect.signature(one.forward).parameters)) == one.main_input_name


@pytest.mark.parametrize(("kind", "count"), [("all", 2 * 3 * 7), ("non_padding", 2 * (7 + 5 + 5))])
def test_trainer_counts_the_tokens_of_the_texts(pretraining, kind, count, tmp_path):
    mask = torch.ones(6, 7, dtype=torch.long)
    mask[1:3, 5:] = mask[4:, 5:] = 0
    columns = {"input_ids": texts(6), "attention_mask": mask, "pixel_values": images(6)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    args = TrainingArguments(
        tmp_path,
        per_device_train_batch_size=3,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        include_num_input_tokens_seen=kind,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(copy.deepcopy(pretraining), args, train_dataset=rows, callbacks=[MomentumQueueCallback()])
    trainer.train()
    assert trainer.state.num_input_tokens_seen == count


def test_text_configuration_answers_for_its_encoder(model):
    text = model.config.get_text_config()
    answers = (text.vocab_size, text.hidden_size, text.max_position_embeddings, text.pad_token_id)
    assert answers == (61, 20, 17, 0)
    assert not {"vocab_size", "hidden_size", "pad_token_id"} & model.config.text_config.to_dict().keys()


def test_weights_in_half_precision_take_float32_inputs():
    whole = perturb(BriVLModel(tiny_config()))
    half = copy.deepcopy(whole).bfloat16()
    boxes = torch.tensor([[[3.0, 5.0, 30.5, 40.0], [0.0, 0.0, float(IMAGE_SIZE), float(IMAGE_SIZE)]]] * 3)
    for more in ({}, {"boxes": boxes, "box_mask": torch.ones(3, 2)}):
        expected, output = whole(**BATCH, **more), half(**BATCH, **more)
        assert output.image_embeds.dtype == torch.bfloat16
        assert (output.image_embeds.float() * expected.image_embeds).sum(dim=1).min() > 0.98
    feature_map = whole.vision_model.backbone.forward_features(BATCH["pixel_values"])
    assert half(feature_map=feature_map).image_embeds.isfinite().all()
    twice = whole(pixel_values=BATCH["pixel_values"].double()).image_embeds
    assert torch.equal(twice, whole(pixel_values=BATCH["pixel_values"]).image_embeds)


def test_pretraining_in_half_precision_takes_float32_images():
    config = tiny_config({"trainable_backbone": ["blocks.3"]}, {"trainable_backbone": ["layer.1"]})
    output = perturb(BriVLForPreTraining(config)).bfloat16()(**BATCH)
    assert output.loss.isfinite()


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_first_convolution_of_any_backbone_is_the_embedding_of_images(backbone):
    tower = BriVLVisionModel(tiny_config({"backbone": backbone, "backbone_kwargs": None}).vision_config)
    first = tower.get_input_embeddings()
    assert first.in_channels == 3
    new = copy.deepcopy(first)
    tower.set_input_embeddings(new)
    assert tower.get_input_embeddings() is new
    assert tower.bfloat16()(images(2)).pooler_output.dtype == torch.bfloat16


def test_tokens_padded_to_the_longest_of_their_batch_have_the_embedding_of_the_processor(tmp_path):
    faithful = save_tiny_folder(tmp_path, attend_padding=True)
    processor = AutoProcessor.from_pretrained(tmp_path)
    expected = faithful.get_text_features(**processor(text=SENTENCES, return_tensors="pt")).pooler_output
    tokens = processor.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    assert tokens["input_ids"].shape[1] < TEXT_LENGTH
    assert torch.equal(faithful.get_text_features(**tokens).pooler_output, expected)
    alone = [faithful.get_text_features(processor.tokenizer(text, return_tensors="pt").input_ids) for text in SENTENCES]
    torch.testing.assert_close(torch.cat([one.pooler_output for one in alone]), expected, atol=1e-6, rtol=0)


def test_text_over_the_limit_is_cut_in_a_model_that_pads():
    faithful = perturb(BriVLModel(tiny_config(text={"attend_padding": True})))
    ids = texts(2, length=TEXT_LENGTH + 4)
    cut = faithful.get_text_features(ids[:, :TEXT_LENGTH])
    assert torch.equal(faithful.get_text_features(ids).pooler_output, cut.pooler_output)
    assert faithful.get_text_features(ids[:, :3]).last_hidden_state.shape == (2, TEXT_LENGTH, 20)


@pytest.mark.parametrize("attend_padding", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedded_tokens_can_be_given_in_place_of_ids(attend_padding, dtype):
    model = perturb(BriVLModel(tiny_config(text={"attend_padding": attend_padding}))).to(dtype)
    words = model.get_input_embeddings()(BATCH["input_ids"]).detach().float()
    mask = torch.tensor([[1] * 7, [1] * 3 + [0] * 4, [1] + [0] * 6])
    for call, output in ((model, "text_embeds"), (model.get_text_features, "pooler_output")):
        expected = call(input_ids=BATCH["input_ids"], attention_mask=mask)[output]
        torch.testing.assert_close(call(inputs_embeds=words, attention_mask=mask)[output], expected)
    words.requires_grad_()
    model(inputs_embeds=words, pixel_values=BATCH["pixel_values"], return_loss=True).loss.backward()
    assert words.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "either input_ids or inputs_embeds"),
        ({"input_ids": texts(2), "inputs_embeds": torch.zeros(2, 7, 20)}, "either input_ids or inputs_embeds"),
        ({"input_ids": texts(2)[0]}, "Texts must be"),
        ({"inputs_embeds": torch.zeros(2, 7)}, "Texts must be"),
        ({"input_ids": texts(2), "attention_mask": torch.ones(2, 3)}, "attention_mask must be"),
    ],
)
def test_text_tower_says_which_input_does_not_fit(wrong, message, model):
    with pytest.raises(ValueError, match=message):
        model.get_text_features(**wrong)
