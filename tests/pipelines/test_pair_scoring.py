import pytest
import torch
from helpers.finetuning.scored_pairs import build_scorer_parts, make_texts
from wenlan.pipelines.pair_scoring import PairScorer
from wenlan.processing.region_inputs import RegionError

TEXTS = make_texts(5)


@pytest.fixture(scope="module")
def parts():
    return build_scorer_parts()


@pytest.mark.parametrize("loss", ["margin", "itm"])
@pytest.mark.parametrize("batch_size", [3, 256])
def test_each_text_is_scored_with_each_image_as_one_by_one(loss, batch_size):
    model, processor, images = build_scorer_parts(retrieval_loss=loss)
    scores = PairScorer(model, processor, images, batch_size=batch_size)(TEXTS)
    assert scores.shape == (5, 7)
    for row, text in enumerate(TEXTS):
        for column, image in enumerate(images):
            expected = model(**processor(text=text, regions=image)).scores[0]
            torch.testing.assert_close(scores[row, column], expected, atol=1e-5, rtol=0)


def test_every_image_and_text_is_embedded_once(parts):
    model, counts = parts[0], {"text_embeddings": 0, "region_embeddings": 0}
    hooks = []
    for name in counts:
        part = getattr(model.mlmm, name)
        count = lambda *_, name=name: counts.update({name: counts[name] + 1})  # noqa: E731
        hooks.append(part.register_forward_hook(count))
    PairScorer(*parts, batch_size=8)(TEXTS)
    for hook in hooks:
        hook.remove()
    assert counts == {"text_embeddings": 1, "region_embeddings": 1}


def test_half_precision_is_near_and_stored_as_float32(parts):
    exact, coarse = PairScorer(*parts)(TEXTS), PairScorer(*parts, dtype=torch.bfloat16)(TEXTS)
    assert coarse.dtype == torch.float32
    assert not torch.equal(exact, coarse)
    torch.testing.assert_close(coarse, exact, atol=0.1, rtol=0)  # eight bits of mantissa


@pytest.mark.parametrize("loss", ["margin", "itm"])
def test_scores_of_half_precision_are_not_rounded_to_it(loss):
    """Else thousands of pairs share a few hundred scores, and ties count against the model."""
    scores = PairScorer(*build_scorer_parts(retrieval_loss=loss), dtype=torch.bfloat16)(TEXTS)
    assert (scores != scores.bfloat16().float()).float().mean() > 0.9


def test_blind_scores_tell_images_apart_by_nothing_but_their_number_of_regions(parts):
    scorer = PairScorer(*parts, blind=True)
    scores, counts = scorer(TEXTS), torch.tensor([len(row["boxes"]) for row in parts[2]])
    same = scores[:, counts == 1]
    torch.testing.assert_close(same, same[:, :1].expand_as(same), atol=1e-5, rtol=0)
    assert scorer.images_hash != PairScorer(*parts).images_hash


def test_scores_that_are_not_finite_are_refused(parts):
    model, processor, images = build_scorer_parts()
    torch.nn.init.constant_(model.rank_head.bias, float("nan"))
    with pytest.raises(ValueError, match=r"score of text 0 .*is not finite"):
        PairScorer(model, processor, images)(TEXTS)


def test_image_without_regions_is_named(parts):
    model, processor, images = parts
    empty = {name: value[:0] if name in ("boxes", "features") else value for name, value in images[2].items()}
    with pytest.raises(RegionError, match="Image 2 has no regions"):
        PairScorer(model, processor, [*images[:2], empty])
