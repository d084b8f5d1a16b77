import pytest
import timm
import torch
from PIL import Image
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


@pytest.fixture
def backbone():
    return timm.create_model("test_efficientnet", num_classes=0).eval().requires_grad_(False)


def test_first_view_is_the_unchanged_image(collator, backbone):
    cache = CachedFeatureMaps(Pairs(), backbone, collator, views=2, batch_size=2)
    plain = ContrastiveCollator(collator.processor)([Pairs()[1]])["pixel_values"]
    with torch.no_grad():
        expected = backbone.forward_features(plain)[0]
    in_float16 = {"atol": 1e-6, "rtol": 1e-2}
    torch.testing.assert_close(cache.feature_maps[0, 1].float(), expected, **in_float16)
    assert not torch.allclose(cache.feature_maps[1, 1].float(), expected, **in_float16)


def test_rows_take_the_view_of_their_draw_and_keep_text_and_group(collator, backbone):
    cache = CachedFeatureMaps(Pairs(), backbone, collator, views=2)
    cache.set_epoch(3)
    row = cache[1]
    assert (row["text"], row["group_id"]) == ("t3", 1)
    assert torch.equal(row["feature_map"], cache.feature_maps[301 % 2, 1])
    assert "image" not in row


def test_backbone_that_trains_is_refused(collator, backbone):
    with pytest.raises(ValueError, match="frozen"):
        CachedFeatureMaps(Pairs(), backbone.requires_grad_(True), collator, views=1)


def test_undecodable_image_is_reported_instead_of_shifting_the_rows(collator, backbone):
    class Broken(Pairs):
        def __getitem__(self, index):
            return super().__getitem__(index) | ({"image": b"no image"} if index == 1 else {})

    with pytest.raises(ValueError, match="not an image"):
        CachedFeatureMaps(Broken(), backbone, collator, views=1)
