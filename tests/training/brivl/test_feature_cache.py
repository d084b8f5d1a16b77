import weakref

import pytest
import torch
from helpers.brivl.tiny import tiny_config
from helpers.perturb import perturb
from PIL import Image
from torch.utils.data import DataLoader
from wenlan.modeling_brivl import BriVLVisionModel
from wenlan.processing import (
    Augmentation,
    BriVLImageProcessor,
    BriVLProcessor,
    ContrastiveCollator,
    build_character_tokenizer,
)
from wenlan.training.brivl.feature_cache import CachedFeatureMaps


class Pairs:
    """Three coloured images whose draw depends on the epoch."""

    epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        image = Image.new("RGB", (40, 40), ["red", "green", "blue"][index])
        return {"image": image, "text": f"t{self.epoch}", "group_id": index, "draw_seed": 100 * self.epoch + index}

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.fixture
def collator():
    processor = BriVLProcessor(BriVLImageProcessor(size=32), build_character_tokenizer(["t012"], max_length=8))
    return ContrastiveCollator(processor, Augmentation(jitter_probability=1.0))


def build_tower(trainable=()):
    torch.manual_seed(0)
    vision = {
        "trainable_backbone": list(trainable),
        "train_batch_norm": False,
        "image_size": 32,
        "stretch_boxes": False,
    }
    return perturb(BriVLVisionModel(tiny_config(vision).vision_config))


@pytest.fixture
def tower():
    return build_tower()


def test_first_view_is_the_unchanged_image(collator, tower):
    cache = CachedFeatureMaps(Pairs(), tower, collator, views=2, batch_size=2)
    plain = ContrastiveCollator(collator.processor)([Pairs()[1]])["pixel_values"]
    with torch.no_grad():
        expected = tower.backbone.forward_features(plain)[0]
    in_float16 = {"atol": 1e-6, "rtol": 1e-2}
    torch.testing.assert_close(cache.maps[0, 1].float(), expected, **in_float16)
    assert not torch.allclose(cache.maps[1, 1].float(), expected, **in_float16)


def test_rows_take_the_view_of_their_draw_and_keep_text_and_group(collator, tower):
    cache = CachedFeatureMaps(Pairs(), tower, collator, views=2)
    cache.set_epoch(3)
    row = cache[1]
    assert (row["text"], row["group_id"]) == ("t3", 1)
    assert torch.equal(row["feature_map"], cache.maps[301 % 2, 1])
    assert "image" not in row


def test_freed_cache_holds_no_maps_though_a_loader_holds_the_cache(collator, tower):
    cache = CachedFeatureMaps(Pairs(), tower, collator, views=2)
    maps = weakref.ref(cache.maps)
    loader = DataLoader(cache)
    cache.free()
    assert maps() is None
    assert loader.dataset is cache


@pytest.mark.parametrize("trainable", [["blocks.3", "blocks.4"], ["conv_head"]])
def test_stages_that_train_run_on_the_cached_states_of_those_that_do_not(collator, trainable):
    tower = build_tower(trainable).train()
    cache = CachedFeatureMaps(Pairs(), tower, collator, views=1)
    assert tower.training
    batch = ContrastiveCollator(collator.processor)([cache[index] for index in range(3)])
    pixels = ContrastiveCollator(collator.processor)([Pairs()[index] for index in range(3)])["pixel_values"]
    assert "feature_map" not in batch
    features = tower(trunk_states=batch["image_states"]).pooler_output
    torch.testing.assert_close(features, tower(pixels).pooler_output, atol=5e-3, rtol=5e-3)
    features.sum().backward()
    assert {name.split(".")[0] for name, one in tower.backbone.named_parameters() if one.grad is not None} == {
        part.split(".")[0] for part in trainable
    }


def test_backbone_that_trains_is_refused(collator):
    with pytest.raises(ValueError, match="frozen"):
        CachedFeatureMaps(Pairs(), build_tower(["conv_stem"]), collator, views=1)


def test_undecodable_image_is_reported_instead_of_shifting_the_rows(collator, tower):
    class Broken(Pairs):
        def __getitem__(self, index):
            return super().__getitem__(index) | ({"image": b"no image"} if index == 1 else {})

    with pytest.raises(ValueError, match="not an image"):
        CachedFeatureMaps(Broken(), tower, collator, views=1)
