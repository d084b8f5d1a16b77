import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from wenlan.processing import (
    Augmentation,
    BriVLImageProcessor,
    BriVLProcessor,
    ContrastiveCollator,
    build_character_tokenizer,
)


@pytest.fixture
def processor():
    tokenizer = build_character_tokenizer(["老虎的脸猫"], max_length=16)
    return BriVLProcessor(BriVLImageProcessor(size=24, max_regions=3), tokenizer, max_text_length=8)


@pytest.fixture
def collator(processor):
    return ContrastiveCollator(processor)


def noise(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture
def bad_paths(tmp_path):
    (tmp_path / "corrupt.png").write_text("no image", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    return [str(tmp_path / "corrupt.png"), str(tmp_path / "empty.png"), str(tmp_path / "missing.png")]


def test_batch_holds_what_the_processor_makes(collator, processor):
    rows = [{"image": noise(0), "text": "老虎"}, {"image": noise(1), "text": "猫的脸"}]
    batch = collator(rows)
    expected = processor(images=[noise(0), noise(1)], text=["老虎", "猫的脸"], return_tensors="pt")
    assert set(batch) == {"pixel_values", "input_ids", "attention_mask"}
    for key in batch:
        assert torch.equal(batch[key], expected[key])


def test_group_ids_come_out_as_int64(collator):
    batch = collator([{"image": noise(), "text": "虎", "group_id": group} for group in (7, 9)])
    assert batch["group_ids"].tolist() == [7, 9]
    assert batch["group_ids"].dtype == torch.int64


def test_boxes_follow_their_image(collator, bad_paths):
    rows = [
        {"image": bad_paths[0], "text": "虎", "boxes": [[1, 1, 2, 2]]},
        {"image": noise(), "text": "猫", "boxes": [[0, 0, 15, 10]]},
    ]
    batch = collator(rows)
    assert batch["boxes"][0].tolist() == [[0, 0, 12, 12], [0, 0, 24, 24], [0, 0, 0, 0]]
    assert batch["box_mask"].tolist() == [[1, 1, 0]]


def test_cached_feature_maps_take_the_place_of_images(collator):
    rows = [{"feature_map": np.full((4, 2, 2), value, dtype=np.float16), "text": "虎"} for value in (1, 2)]
    batch = collator(rows)
    assert batch["feature_map"].dtype == torch.float32
    assert batch["feature_map"][:, 0, 0, 0].tolist() == [1, 2]
    assert "pixel_values" not in batch


def test_undecodable_images_are_left_out_with_their_whole_row(collator, bad_paths):
    images = [bad_paths[0], noise(0), bad_paths[1], noise(1), bad_paths[2]]
    rows = [{"image": image, "text": "虎" * (index + 1), "group_id": index} for index, image in enumerate(images)]
    batch = collator(rows)
    assert batch["pixel_values"].shape[0] == 2
    assert batch["group_ids"].tolist() == [1, 3]
    assert batch["attention_mask"].sum(dim=1).tolist() == [4, 6]
    assert collator.bad_rows.counts == {"not an image": 1, "empty file": 1, "file missing": 1}


def test_bad_images_are_logged_once_a_cause_with_an_example(collator, bad_paths, caplog):
    rows = [{"image": bad_paths[0], "text": "虎"}] * 3 + [{"image": noise(), "text": "虎"}]
    with caplog.at_level(logging.WARNING):
        collator(rows)
        collator(rows)
    assert collator.bad_rows.counts == {"not an image": 6}
    assert len(caplog.records) == 1
    assert "corrupt.png" in caplog.text


def test_bad_images_are_counted_over_all_workers(collator, bad_paths):
    rows = [{"image": image, "text": "虎"} for image in [noise(), bad_paths[0]] * 4]
    batches = list(DataLoader(rows, batch_size=2, num_workers=2, collate_fn=collator))
    assert [len(batch["input_ids"]) for batch in batches] == [1, 1, 1, 1]
    assert collator.bad_rows.counts == {"not an image": 4}


def test_batch_of_bad_images_only_is_an_error(collator, bad_paths):
    with pytest.raises(ValueError, match="None of the 3 images"):
        collator([{"image": path, "text": "虎"} for path in bad_paths])


def test_augmentation_depends_on_the_draw_seed_alone(processor):
    collator = ContrastiveCollator(processor, augmentation=Augmentation(jitter_probability=1))
    rows = [{"image": noise(), "text": "虎", "draw_seed": seed} for seed in (1, 2, 1)]
    pixel_values = collator(rows)["pixel_values"]
    assert torch.equal(pixel_values[0], pixel_values[2])
    assert not torch.equal(pixel_values[0], pixel_values[1])


def test_augmentation_without_a_draw_seed_is_an_error(processor):
    collator = ContrastiveCollator(processor, augmentation=Augmentation())
    with pytest.raises(ValueError, match="draw_seed"):
        collator([{"image": noise(), "text": "虎"}])


def test_moving_images_with_boxes_is_an_error(processor):
    collator = ContrastiveCollator(processor, augmentation=Augmentation(rotation_degrees=5))
    with pytest.raises(ValueError, match="colours only"):
        collator([{"image": noise(), "text": "虎", "boxes": [[0, 0, 1, 1]], "draw_seed": 0}])


def test_augmenting_feature_maps_is_an_error(processor):
    collator = ContrastiveCollator(processor, augmentation=Augmentation())
    with pytest.raises(ValueError, match="cannot be augmented"):
        collator([{"feature_map": torch.zeros(4, 2, 2), "text": "虎", "draw_seed": 0}])


@pytest.mark.parametrize("text", [" ", "\u200b", "\ue000", "\u3164", "\ud83d", None])
@pytest.mark.parametrize("rest", [{"image": noise()}, {"feature_map": torch.zeros(4, 2, 2)}], ids=["image", "map"])
def test_row_whose_text_cannot_be_read_is_left_out_and_counted(collator, text, rest):
    batch = collator([{**rest, "text": text, "group_id": 3}, {**rest, "text": "虎", "group_id": 4}])
    assert batch["group_ids"].tolist() == [4]
    assert collator.bad_rows.counts == {"empty text": 1}
    assert collator.bad_rows.rows_kept == 1
    with pytest.raises(ValueError, match="None of the 1 images"):
        collator([{**rest, "text": text}])


def test_images_are_read_as_the_original_does_where_the_processor_says_so(collator, processor):
    clear = Image.new("RGBA", (20, 30), (0, 0, 0, 0))
    white = collator([{"image": clear, "text": "猫"}])["pixel_values"]
    processor.image_processor.as_original = True
    black = collator([{"image": clear, "text": "猫"}])["pixel_values"]
    assert (white > 2).all()
    assert (black < -1).all()


def test_hidden_tokens_follow_the_draw_seed_and_leave_the_first(processor):
    collator = ContrastiveCollator(processor, token_dropout=0.5)
    rows = [{"image": noise(), "text": "老虎的脸", "draw_seed": seed} for seed in range(40)]
    mask = collator(rows)["attention_mask"]
    assert mask[:, 0].all()
    assert 0.35 < mask[:, 1:].float().mean() < 0.65
    assert torch.equal(mask, collator(rows)["attention_mask"])
    assert not torch.equal(mask, collator([{**rows[0], "draw_seed": 99}, *rows[1:]])["attention_mask"])
    whole = ContrastiveCollator(processor)(rows)["attention_mask"]
    assert whole.all()
    with pytest.raises(ValueError, match="draw_seed"):
        collator([{"image": noise(), "text": "虎"}])
