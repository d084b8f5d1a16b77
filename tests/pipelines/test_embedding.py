import base64

import numpy as np
import pytest
import torch
from PIL import Image
from wenlan.pipelines import embed_images, embed_texts
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, build_character_tokenizer

from wenlan import BriVLConfig, BriVLModel


@pytest.fixture(scope="module")
def model_and_processor():
    tokenizer = build_character_tokenizer(["红色的猫和蓝色的狗"], max_length=16)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    overrides = {
        "vision_config": {
            "backbone": "test_efficientnet",
            "image_size": 64,
            "hidden_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
        },
        "text_config": {
            "encoder_config": {"vocab_size": len(tokenizer), "max_position_embeddings": 32, **sizes},
            "projection_dim": 16,
            "max_text_length": 16,
            "attend_padding": False,
        },
    }
    torch.manual_seed(0)
    model = BriVLModel(BriVLConfig.from_variant("nmi", overrides))
    return model, BriVLProcessor(BriVLImageProcessor(size=64), tokenizer, max_text_length=16)


def test_batches_of_any_size_give_the_same_embeddings(model_and_processor):
    texts = ["猫", "红色的狗", "蓝色", "猫和狗", "红"]
    one_by_one = embed_texts(*model_and_processor, texts, batch_size=1)
    torch.testing.assert_close(embed_texts(*model_and_processor, texts, batch_size=3), one_by_one, atol=1e-5, rtol=0)
    assert one_by_one.shape == (5, 16)


def test_embeddings_are_unit_rows_and_training_mode_comes_back(model_and_processor):
    model, processor = model_and_processor
    model.train()
    images = embed_images(model, processor, (Image.new("RGB", (9, 5), colour) for colour in ("red", "blue")))
    torch.testing.assert_close(images.norm(dim=1), torch.ones(2))
    assert model.training


def test_arrays_in_any_unit_and_single_images_are_embedded_alike(model_and_processor, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = embed_images(*model_and_processor, [Image.fromarray(array)])
    path, tensor = tmp_path / "a.png", torch.tensor(array / 255).permute(2, 0, 1)
    uri = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    for images in (array, array[None], [array / 255], tensor, path, uri, [uri]):
        assert torch.equal(embed_images(*model_and_processor, images), expected)


def test_nothing_to_embed_is_an_error(model_and_processor):
    with pytest.raises(ValueError, match="nothing to embed"):
        embed_texts(*model_and_processor, [])
