"""Late interaction: the score against a naive loop, its invariances, and the objective around it."""

import pytest
import torch
from helpers.brivl.tiny import images, texts, tiny_config
from helpers.perturb import perturb
from helpers.training.tiny_trainer import build_trainer
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch.nn import functional as F
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel
from wenlan.modeling_brivl.contrastive_loss import in_batch_info_nce
from wenlan.modeling_brivl.late_interaction import late_interaction_scores

LATE = {"late_interaction": True, "late_dim": 12}


def random_tokens(rows, length, *, seed, ends=None):
    """Returns unit tokens (rows, length, 12) and a mask with `ends` real ones in each row."""
    tokens = F.normalize(torch.randn(rows, length, 12, generator=torch.Generator().manual_seed(seed)), dim=-1)
    ends = torch.tensor(ends or [length] * rows)
    return tokens, torch.arange(length) < ends[:, None]


def sides():
    """Returns three images and four texts of unequal lengths, as the arguments of the score."""
    return *random_tokens(3, 5, seed=0, ends=[5, 2, 4]), *random_tokens(4, 7, seed=1, ends=[7, 3, 1, 5])


def naive_score(image, text):
    """Returns the score of the real tokens of an image and a text."""
    rows = [[sum(x * y for x, y in zip(one, other, strict=True)) for other in text.tolist()] for one in image.tolist()]
    best_of_image = [max(row) for row in rows]
    best_of_text = [max(column) for column in zip(*rows, strict=True)]
    return (sum(best_of_image) / len(best_of_image) + sum(best_of_text) / len(best_of_text)) / 2


def build(**overrides):
    return perturb(BriVLForPreTraining(tiny_config(**LATE, **overrides)))


def batch(count=4, **more):
    return {"input_ids": texts(count), "pixel_values": images(count), **more}


def test_scores_equal_a_naive_triple_loop():
    image, image_mask, text, text_mask = sides()
    expected = [
        [naive_score(one[seen], other[read]) for other, read in zip(text, text_mask, strict=True)]
        for one, seen in zip(image, image_mask, strict=True)
    ]
    torch.testing.assert_close(late_interaction_scores(*sides()), torch.tensor(expected), atol=1e-6, rtol=0)


def test_one_token_on_each_side_gives_the_cosine():
    image, text = random_tokens(3, 1, seed=0), random_tokens(4, 1, seed=1)
    expected = image[0][:, 0] @ text[0][:, 0].T
    torch.testing.assert_close(late_interaction_scores(*image, *text), expected, atol=1e-6, rtol=0)


def test_scores_do_not_depend_on_which_side_is_called_the_image():
    image, image_mask, text, text_mask = sides()
    swapped = late_interaction_scores(text, text_mask, image, image_mask)
    torch.testing.assert_close(swapped.T, late_interaction_scores(*sides()), atol=1e-6, rtol=0)


def test_padding_changes_no_score():
    image, image_mask, text, text_mask = sides()
    longer = [F.pad(x, (0, 0, 0, 3), value=9.0) for x in (image, text)]
    masks = [F.pad(x, (0, 3)) for x in (image_mask, text_mask)]
    padded = late_interaction_scores(longer[0], masks[0], longer[1], masks[1])
    torch.testing.assert_close(padded, late_interaction_scores(*sides()), atol=1e-6, rtol=0)


def test_order_of_tokens_changes_no_score():
    image, image_mask, text, text_mask = sides()
    first, second = torch.randperm(5), torch.randperm(7)
    shuffled = late_interaction_scores(image[:, first], image_mask[:, first], text[:, second], text_mask[:, second])
    torch.testing.assert_close(shuffled, late_interaction_scores(*sides()), atol=1e-6, rtol=0)


def test_masked_token_cannot_win_although_all_real_ones_are_opposite():
    image = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    text = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])
    first = torch.tensor([[True, False]])
    assert late_interaction_scores(image, first, text, first).item() == -1


@pytest.mark.parametrize("max_cells", [1, 35, 36, 80, 1000])
def test_scores_in_chunks_are_those_at_once(max_cells):
    chunks = late_interaction_scores(*sides(), max_cells=max_cells)
    torch.testing.assert_close(chunks, late_interaction_scores(*sides()), atol=1e-6, rtol=0)


def test_no_image_has_no_scores():
    image, image_mask, text, text_mask = sides()
    assert late_interaction_scores(image[:0], image_mask[:0], text, text_mask).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_of_half_precision_are_finite_and_near(dtype):
    image, image_mask, text, text_mask = sides()
    scores = late_interaction_scores(image.to(dtype), image_mask, text.to(dtype), text_mask)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, late_interaction_scores(*sides()), atol=1e-2, rtol=0)


def test_loss_of_a_model_in_bfloat16_is_finite():
    model = build().to(torch.bfloat16).train()
    output = model(**batch())
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(one.grad.isfinite().all() for one in model.brivl.late_heads.parameters())


@pytest.mark.parametrize("chunk_size", [2, 3])
def test_batch_in_chunks_has_the_loss_and_gradients_of_the_whole(chunk_size):
    gradients = []
    for size in (0, chunk_size):
        torch.manual_seed(0)
        model = build(vision={"train_batch_norm": False}, contrastive_chunk_size=size).train()
        mask = torch.ones(5, 7, dtype=torch.int64)
        mask[0, 4:] = 0
        output = model(**batch(5), attention_mask=mask)
        output.loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert "brivl.late_heads.image.weight" in gradients[0]
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-5)


def test_states_of_a_frozen_trunk_give_the_tokens_of_the_whole_tower():
    model = build(vision={"trainable_backbone": []}, text={"trainable_backbone": []})
    states = {"image_states": model.brivl.vision_model.run_trunk(images(4))}
    states["text_states"] = model.brivl.text_model.run_trunk(texts(4))
    mask = torch.ones(4, 7, dtype=torch.int64)
    cached = model(**states, attention_mask=mask).late_scores
    torch.testing.assert_close(cached, model(**batch()).late_scores)


def test_trainer_moves_the_heads_in_accumulated_steps_and_resumes_to_the_same_weights(tmp_path):
    settings = {"config": LATE, "gradient_accumulation_steps": 2}
    whole = build_trainer(tmp_path / "whole", **settings)
    before = whole.model.brivl.late_heads.image.weight.clone()
    whole.train()
    assert not torch.equal(whole.model.brivl.late_heads.image.weight, before)
    resumed = build_trainer(tmp_path / "other", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name


def test_gradient_reaches_both_projections_and_both_towers():
    model = build()
    model(**batch()).late_scores.diagonal().sum().backward()
    heads = model.brivl.late_heads
    for layer in (heads.image, heads.text, model.brivl.vision_model.region_projection):
        assert layer.weight.grad.abs().max() > 0
    assert model.brivl.text_model.get_input_embeddings().weight.grad.abs().max() > 0


def test_tokens_of_the_model_are_projected_unit_states_before_the_pooling():
    model = perturb(BriVLModel(tiny_config(**LATE)))
    output = model(**batch(3))
    states = output.vision_model_output.last_hidden_state
    torch.testing.assert_close(output.image_tokens, F.normalize(model.late_heads.image(states), dim=-1))
    assert output.image_tokens.shape == (3, 5, 12)
    assert output.text_tokens.shape == (3, 7, 12)
    scores = (output.image_tokens, output.image_token_mask, output.text_tokens, output.text_token_mask)
    assert torch.equal(output.late_scores, late_interaction_scores(*scores))


def test_one_side_alone_gives_its_tokens():
    model = perturb(BriVLModel(tiny_config(**LATE)))
    output = model(input_ids=texts(2))
    assert output.text_tokens is not None
    assert output.image_tokens is output.late_scores is None


def test_masks_follow_boxes_and_texts_also_where_the_tower_pads():
    model = perturb(BriVLModel(tiny_config(text={"attend_padding": True}, **LATE)))
    boxes = torch.tensor([[[0.0, 0, 30, 30], [0, 0, 0, 0]], [[0, 0, 72, 72], [9, 9, 40, 40]]])
    more = {"boxes": boxes, "box_mask": torch.tensor([[1, 0], [1, 1]])}
    output = model(**batch(2), attention_mask=torch.tensor([[1] * 7, [1] * 3 + [0] * 4]), **more)
    assert output.image_token_mask.tolist() == [[True, False], [True, True]]
    assert output.text_token_mask.sum(dim=1).tolist() == [7, 3]
    assert output.text_token_mask.shape == output.text_tokens.shape[:2] == (2, 11)


def test_padding_of_a_text_changes_no_late_score_of_the_model():
    model = perturb(BriVLModel(tiny_config(**LATE)))
    mask = torch.ones(2, 7, dtype=torch.int64)
    padded = {"input_ids": F.pad(texts(2), (0, 4)), "attention_mask": F.pad(mask, (0, 4))}
    shorter, longer = (model(**texts_, pixel_values=images(2)) for texts_ in ({"input_ids": texts(2)}, padded))
    torch.testing.assert_close(longer.late_scores, shorter.late_scores, atol=1e-6, rtol=0)


def test_loss_is_that_of_the_queue_and_the_weighted_one_of_the_batch():
    model = build(late_weight=0.25, late_temperature=0.5)
    output = model(**batch())
    rows = output.image_embeds, output.text_embeds, output.image_keys, output.text_keys
    queue = model.contrastive_output(*rows, torch.full((4,), -1)).loss
    scores, labels = output.late_scores / 0.5, torch.arange(4)
    late = F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)
    torch.testing.assert_close(output.loss, queue + 0.25 * late)


def test_scores_and_loss_of_fixed_tokens_are_pinned():
    """The tokens lie on a quarter of a circle, so that no generator of random numbers takes part."""
    angles = torch.arange(24.0).mul(37).remainder(90).deg2rad()
    tokens = torch.stack([angles.cos(), angles.sin()], dim=-1).view(2, 3, 4, 2)
    mask = torch.arange(4) < torch.tensor([[4], [2], [3]])
    scores = late_interaction_scores(tokens[0], mask, tokens[1], mask)
    expected = [[0.989733, 0.908548, 0.981039], [0.963304, 0.882052, 0.994194], [0.988368, 0.907366, 0.994522]]
    torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)
    assert in_batch_info_nce(scores / 0.07).item() == pytest.approx(2.38961, abs=1e-4)


def test_pairs_of_one_group_are_no_negatives_unless_they_are_positives():
    scores = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([5, 5, -1])
    apart = in_batch_info_nce(scores, groups)
    changed = scores.clone()
    changed[0, 1] = changed[1, 0] = 4.0
    assert torch.equal(in_batch_info_nce(changed, groups), apart)
    assert in_batch_info_nce(changed, groups, group_positives=True) != in_batch_info_nce(
        scores, groups, group_positives=True
    )


def test_several_texts_of_an_image_are_each_compared_with_those_of_others():
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([scores[0, [0, 2, 3]], scores[0, [1, 2, 3]], scores[1, [2, 0, 1]], scores[1, [3, 0, 1]]])
    expected = F.cross_entropy(rows, torch.zeros(4, dtype=torch.int64))
    expected += F.cross_entropy(scores.T, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(in_batch_info_nce(scores), expected)


@pytest.mark.parametrize("model_class", [BriVLModel, BriVLForPreTraining])
def test_saved_and_loaded_model_gives_the_same_scores(model_class, tmp_path):
    model = perturb(model_class(tiny_config(**LATE)))
    model.save_pretrained(tmp_path)
    loaded = BriVLModel.from_pretrained(tmp_path).eval()
    expected = getattr(model, "brivl", model)(**batch()).late_scores
    assert torch.equal(loaded(**batch()).late_scores, expected)


def test_momentum_towers_have_no_copy_of_the_heads():
    names = BriVLForPreTraining(tiny_config(**LATE)).state_dict()
    assert [name for name in names if "late" in name] == [
        "brivl.late_heads.image.weight",
        "brivl.late_heads.text.weight",
    ]


def test_pre_training_may_add_the_heads_to_a_checkpoint_without_them(tmp_path):
    perturb(BriVLModel(tiny_config())).save_pretrained(tmp_path)
    model = BriVLForPreTraining.from_pretrained(tmp_path, **LATE)
    assert model(**batch()).loss.isfinite()
    with pytest.raises(ValueError, match="late_heads"):
        BriVLModel.from_pretrained(tmp_path, **LATE)


def test_a_configuration_without_it_has_neither_weights_nor_outputs_of_it():
    model = BriVLForPreTraining(tiny_config())
    assert not [name for name in model.state_dict() if "late" in name]
    assert not [name for name in model.eval()(**batch()) if "late" in name or "token" in name]


@pytest.mark.parametrize("changes", [{"late_dim": 0}, {"late_weight": -1.0}, {"late_temperature": 0.0}])
def test_sizes_that_cannot_work_are_refused(changes):
    with pytest.raises(StrictDataclassClassValidationError, match=next(iter(changes))):
        tiny_config(**changes)
