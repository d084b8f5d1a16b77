"""Tokens of a model with late interaction: one forward pass gives them and the embeddings."""

import numpy as np
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from PIL import Image
from wenlan.modeling_brivl import late_interaction_scores
from wenlan.pipelines import embed_image_tokens, embed_images, embed_text_tokens, embed_texts, open_brivl

IMAGES = [Image.new("RGB", (9, 5), colour) for colour in ("red", "blue", "green")]


@pytest.fixture(scope="module")
def late_brivl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    save_tiny_folder(folder, late_interaction=True, late_dim=12)
    return open_brivl(folder)


def test_tokens_come_with_the_same_embeddings(late_brivl):
    embeddings, tokens = embed_image_tokens(*late_brivl, IMAGES, batch_size=2)
    torch.testing.assert_close(embeddings, embed_images(*late_brivl, IMAGES, batch_size=2))
    assert [one.shape for one in tokens] == [(5, 12)] * 3  # a grid of 2 x 2 and the whole image
    embeddings, _ = embed_text_tokens(*late_brivl, SENTENCES)
    torch.testing.assert_close(embeddings, embed_texts(*late_brivl, SENTENCES))


def test_texts_have_tokens_for_their_real_ones_only(late_brivl):
    _, tokens = embed_text_tokens(*late_brivl, SENTENCES)
    counts = [len(ids) for ids in late_brivl[1](text=SENTENCES)["input_ids"]]
    masks = late_brivl[1](text=SENTENCES, return_tensors="pt")["attention_mask"].sum(dim=1).tolist()
    assert [len(one) for one in tokens] == masks
    assert max(masks) <= max(counts)
    assert len(set(masks)) > 1


def test_tokens_are_unit_rows_in_half_precision_and_score_as_the_model_does(late_brivl):
    model, processor = late_brivl
    _, images = embed_image_tokens(model, processor, IMAGES)
    _, (text,) = embed_text_tokens(model, processor, SENTENCES[:1])
    assert images[0].dtype == text.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(images[0].astype(float), axis=1), 1, atol=1e-3)
    rows = torch.from_numpy(np.stack(images))
    found = late_interaction_scores(
        rows, torch.ones(rows.shape[:2]), torch.from_numpy(text)[None], torch.ones(1, len(text))
    )
    with torch.inference_mode():
        batch = processor(images=IMAGES, text=SENTENCES[:1], return_tensors="pt")
        torch.testing.assert_close(found, model(**batch).late_scores, atol=2e-3, rtol=0)


def test_model_without_late_interaction_is_refused(tiny_brivl):
    with pytest.raises(ValueError, match="late_interaction is false"):
        embed_text_tokens(*tiny_brivl, SENTENCES)
