"""Attention from words to regions, as numbers."""

import numpy as np
import pytest
import torch
from helpers.mlmm.folder import noise_image, write_detector
from helpers.mlmm.tiny import tiny_config
from helpers.perturb import perturb
from helpers.regions.tiny_detector import tiny_detector
from wenlan.analysis import attention_rollout, text_to_region_attention
from wenlan.analysis.region_attention.attention import joint_attentions
from wenlan.analysis.region_attention.words import find_word
from wenlan.modeling_mlmm import MLMMForPreTraining, MLMMForVisualQuestionAnswering, MLMMModel
from wenlan.processing import MLMMProcessor, load_small_tokenizer

WIDTH, COUNT = 10, 5


@pytest.fixture(scope="module")
def processor():
    return MLMMProcessor(load_small_tokenizer())


def build(model_class=MLMMModel, **overrides):
    sizes = {"vocab_size": 8000, "max_position_embeddings": 64, "region_feature_dim": WIDTH} | overrides
    return perturb(model_class(tiny_config(**sizes)))


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def regions():
    """The row of an image of 200 x 100 pixels."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (COUNT, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (COUNT, 2))], axis=1).astype(np.float32)
    features = rng.random((COUNT, WIDTH)).astype(np.float32)
    return {"image_height": 100, "image_width": 200, "boxes": boxes, "features": features}


@torch.no_grad()
def own_attentions(model, processor, text, regions):
    """What the model itself gives, (layers, heads, pieces, regions)."""
    inputs = processor(text=text, regions=regions)
    model.set_attn_implementation("eager")
    attentions = model(**inputs, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    length = inputs["input_ids"].shape[1]
    return torch.stack(attentions)[:, 0, :, 1 : length - 1, length:]


def test_weights_are_shares_of_the_mean_of_the_heads_in_the_last_layer(model, processor, regions):
    found = text_to_region_attention(model, processor, "a red key", regions=regions)
    expected = own_attentions(model, processor, "a red key", regions)[-1].mean(dim=0)
    torch.testing.assert_close(found.region_fraction, expected.sum(dim=1))
    torch.testing.assert_close(found.weights, expected / expected.sum(dim=1, keepdim=True))
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(len(found.tokens)))
    assert found.weights.std() > 1e-3


@pytest.mark.parametrize(("heads", "join"), [("max", lambda all_: all_.amax(dim=0)), (2, lambda all_: all_[2])])
def test_another_layer_and_other_heads_can_be_chosen(model, processor, regions, heads, join):
    found = text_to_region_attention(model, processor, "a red key", regions=regions, layer=0, heads=heads)
    expected = join(own_attentions(model, processor, "a red key", regions)[0])
    torch.testing.assert_close(found.weights, expected / expected.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("layer", [-1, "rollout"])
def test_permuted_regions_permute_the_weights_exactly(processor, regions, layer):
    """In float64, of which the weights are the nearest float32: the order of a sum changes its last bits."""
    order = [3, 0, 4, 1, 2]
    permuted = regions | {"boxes": regions["boxes"][order], "features": regions["features"][order]}
    model = build().double()
    first, second = (
        text_to_region_attention(model, processor, "a red key", regions=one, layer=layer) for one in (regions, permuted)
    )
    assert torch.equal(second.weights, first.weights[:, order])
    assert torch.equal(second.boxes, first.boxes[order])


@pytest.mark.parametrize("layer", [0, -1, "rollout"])
@pytest.mark.parametrize("heads", ["mean", 1])
def test_rows_over_the_text_and_the_regions_add_up_to_one(model, processor, regions, layer, heads):
    (joint,) = joint_attentions(model, processor, ["a red key"], regions=regions)
    rows = joint.of_pieces(layer, heads)
    assert rows.shape == (3, 5 + COUNT)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    found = joint.to_regions(layer, heads)
    torch.testing.assert_close(found.region_fraction, rows[:, 5:].sum(dim=1))
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(3))


def test_rollout_goes_through_all_layers(model, processor, regions):
    found = text_to_region_attention(model, processor, "a red key", regions=regions, layer="rollout")
    inputs = processor(text="a red key", regions=regions)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = torch.cat(model(**inputs, output_attentions=True).attentions).mean(dim=1)
    expected = attention_rollout(attentions)[1:4, 5:]
    torch.testing.assert_close(found.weights, expected / expected.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("scores", ["object_scores", "class_probs"])
def test_of_too_many_regions_those_with_the_greatest_scores_are_kept(model, processor, caplog, scores):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (120, 2))
    probs = rng.dirichlet(np.ones(4), 120)
    best = rng.random(120) if scores == "object_scores" else probs[:, 1:].max(axis=1)
    row = {
        "image_id": "a.png",
        "image_height": 100,
        "image_width": 100,
        "boxes": np.concatenate([corner, corner + 40], axis=1),
        "features": rng.random((120, WIDTH)),
    }
    row |= {scores: best} if scores == "object_scores" else {scores: probs, "background_index": 0}
    found = text_to_region_attention(model, processor, "a red key", regions=row)
    kept = sorted(np.argsort(best)[-100:])
    np.testing.assert_allclose(found.boxes, row["boxes"][kept], atol=1e-4)
    assert "a.png has 120 regions; kept are the 100 with the greatest scores" in caplog.text


def test_of_too_many_regions_without_scores_the_first_are_kept(model, processor, regions, caplog):
    row = {**regions, **{name: np.repeat(regions[name], 30, axis=0) for name in ("boxes", "features")}}
    found = text_to_region_attention(model, processor, "a red key", regions=row)
    np.testing.assert_allclose(found.boxes, row["boxes"][:100], atol=1e-4)
    assert "kept are the 100 first ones, for they have no scores" in caplog.text


@pytest.mark.parametrize("count", [0, 3])
def test_image_without_regions_or_with_all_of_them_masked_is_refused(model, processor, count):
    mask = {"attention_mask": torch.zeros(1, count), "image_sizes": torch.tensor([[100, 200]])}
    hidden = {"boxes": torch.zeros(1, count, 4), "features": torch.zeros(1, count, WIDTH)} | mask
    with pytest.raises(ValueError, match="has no regions"):
        text_to_region_attention(model, processor, "a red key", regions=hidden)


def test_empty_attention_is_an_error(processor, regions, monkeypatch):
    """As without eager attention."""
    model = build()
    model.set_attn_implementation("sdpa")
    monkeypatch.setattr(model, "set_attn_implementation", lambda name: None)
    with pytest.raises(RuntimeError, match="gave no attention weights"):
        text_to_region_attention(model, processor, "a red key", regions=regions)


def test_tokens_are_the_parts_of_the_text_without_specials(model, processor, regions):
    text = "Picture of racing car and key ×3."
    found = text_to_region_attention(model, processor, text, regions=regions)
    assert [text[first:last] for first, last in found.spans] == found.tokens
    assert "".join(found.tokens) == text.replace(" ", "")
    assert len(found.tokens) == len(processor.tokenizer.tokenize(text)) == len(found.weights)


def test_several_texts_share_the_regions_of_one_image(model, processor, regions):
    texts = ["a red key", "红色的钥匙"]
    together = text_to_region_attention(model, processor, texts, regions=regions)
    for found, text in zip(together, texts, strict=True):
        assert torch.equal(found.weights, text_to_region_attention(model, processor, text, regions=regions).weights)


def test_boxes_are_in_pixels_of_the_image(model, processor, regions):
    found = text_to_region_attention(model, processor, "a red key", regions=regions)
    np.testing.assert_allclose(found.boxes.numpy(), regions["boxes"], atol=1e-4)
    fractions = regions | {"boxes": regions["boxes"] / np.array([200, 100, 200, 100], dtype=np.float32)}
    fractions |= {"image_height": None, "image_width": None}
    found = text_to_region_attention(model, processor, "a red key", regions=fractions)
    np.testing.assert_allclose(found.boxes.numpy(), fractions["boxes"], atol=1e-6)


def test_image_and_the_regions_found_in_it_give_the_same(tmp_path):
    detector, width = write_detector(tmp_path / "detector"), tiny_detector().config.feature_dim
    processor = MLMMProcessor(load_small_tokenizer(), 60, width, str(detector), 3, 6)
    model, image = build(region_feature_dim=width), noise_image()
    found = text_to_region_attention(model, processor, "a red key", image=image)
    regions = processor.region_extractor.extract([image], min_boxes=3, max_boxes=6)
    expected = text_to_region_attention(model, processor, "a red key", regions=regions)
    assert torch.equal(found.weights, expected.weights)
    torch.testing.assert_close(found.boxes, regions.boxes[0])


@pytest.mark.parametrize("model_class", [MLMMForPreTraining, MLMMForVisualQuestionAnswering])
def test_models_with_heads_attend_like_their_tower(model_class, processor, regions):
    model = build(model_class)
    found = text_to_region_attention(model, processor, "a red key", regions=regions)
    expected = text_to_region_attention(model.mlmm, processor, "a red key", regions=regions)
    assert torch.equal(found.weights, expected.weights)


def test_half_precision_model_gives_weights_that_add_up(processor, regions):
    found = text_to_region_attention(build().to(torch.bfloat16), processor, "a red key", regions=regions)
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(len(found.tokens)))


def test_model_is_left_as_it_was(processor, regions):
    model = build().train()
    model.set_attn_implementation("sdpa")
    text_to_region_attention(model, processor, "a red key", regions=regions)
    with pytest.raises(ValueError, match="heads is 9"):
        text_to_region_attention(model, processor, "a red key", regions=regions, heads=9)
    assert model.config._attn_implementation == model.encoder.config._attn_implementation == "sdpa"
    assert model.training


@pytest.mark.parametrize(
    ("text", "word", "pieces"),
    [
        ("图中有面条和钥匙×3。", "面条", ["面", "条"]),
        ("A monkey and a key.", "key", ["key"]),
        ("그림: 열쇠가 있다.", "열쇠", None),
    ],
)
def test_word_has_the_mean_weights_of_its_pieces(model, processor, regions, text, word, pieces):
    found = text_to_region_attention(model, processor, text, regions=regions)
    first, last = find_word(text, word)[0]
    rows = [row for row, (start, end) in enumerate(found.spans) if start < last and first < end]
    assert pieces is None or [found.tokens[row] for row in rows] == pieces
    torch.testing.assert_close(found.of(word), found.weights[rows].mean(dim=0))
    torch.testing.assert_close(found.of(word).sum(), torch.tensor(1.0))


def test_several_words_count_by_their_pieces(model, processor, regions):
    found = text_to_region_attention(model, processor, "cat dog", regions=regions)
    assert found.tokens == ["cat", "dog"]
    torch.testing.assert_close(found.of(["dog", "cat"]), found.weights.mean(dim=0))


@pytest.mark.parametrize("words", ["dog", ["cat", "dog"]])
def test_word_that_is_not_in_the_text_is_named(model, processor, regions, words):
    found = text_to_region_attention(model, processor, "a cat", regions=regions)
    with pytest.raises(ValueError, match="'dog' is not in the text 'a cat'"):
        found.of(words)


def test_word_that_was_cut_off_is_named(model, regions):
    found = text_to_region_attention(model, MLMMProcessor(load_small_tokenizer(), 2), "cat dog key", regions=regions)
    with pytest.raises(ValueError, match="'key' was cut off"):
        found.of("key")


def test_no_words_are_refused(model, processor, regions):
    with pytest.raises(ValueError, match="There is no word"):
        text_to_region_attention(model, processor, "a cat", regions=regions).of([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "no layer 2: the model has 2"),
        ({"layer": -3}, "no layer -3"),
        ({"layer": "last"}, "no layer last"),
        ({"heads": 3}, r"heads is 3; .* 0\.\.2"),
        ({"heads": "median"}, "heads is 'median'"),
        ({"image": noise_image()}, "either the image"),
        ({"regions": None}, "either the image"),
    ],
)
def test_mistake_says_what_is_wrong(model, processor, regions, options, message):
    with pytest.raises(ValueError, match=message):
        text_to_region_attention(model, processor, "a red key", **({"regions": regions} | options))


def test_regions_of_two_images_are_refused(model, processor, regions):
    with pytest.raises(ValueError, match="There are 2 images"):
        text_to_region_attention(model, processor, "a red key", regions=[regions, regions])
