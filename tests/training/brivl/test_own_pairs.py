import pytest
from helpers.brivl.tiny import tiny_config
from transformers import TrainingArguments
from wenlan.training.brivl.data import DataArguments
from wenlan.training.brivl.own_pairs import fit_to_pairs

from wenlan import BriVLForPreTraining


@pytest.fixture
def model():
    return BriVLForPreTraining(tiny_config(queue_size=64))


def fit(tmp_path, model, pairs, given=(), **options):
    args = TrainingArguments(str(tmp_path), use_cpu=True, **options)
    data = DataArguments(data="mine.jsonl", fit_to_data=True)
    return args, data, fit_to_pairs(args, data, model, pairs, given)


@pytest.mark.parametrize(
    ("pairs", "batch", "steps", "queue"),
    [
        (1, 1, 200, 1),
        (7, 7, 200, 3),
        (20, 8, 200, 10),
        (348, 32, 200, 64),
        (5000, 128, 391, 64),
        (200_000, 128, 15_625, 64),
    ],
)
def test_sizes_follow_the_number_of_pairs(tmp_path, model, pairs, batch, steps, queue):
    args, data, told = fit(tmp_path, model, pairs)
    assert (args.train_batch_size, args.max_steps, len(model.queue.image_keys)) == (batch, steps, queue)
    assert data.cached_views == 0  # its backbone trains
    assert told == f"{pairs:,} pairs: {steps} steps of {batch}, a queue of {queue}"


def test_what_is_given_stays(tmp_path, model):
    given = {"per_device_train_batch_size", "num_train_epochs", "cached_views"}
    options = {"per_device_train_batch_size": 5, "num_train_epochs": 3}
    args, _, told = fit(tmp_path, model, 1000, given, **options)
    assert (args.train_batch_size, args.max_steps) == (5, -1)
    assert told.startswith("1,000 pairs: 3 epochs of 5")


def test_accumulated_batches_share_the_batch(tmp_path, model):
    args, _, _ = fit(tmp_path, model, 1024, gradient_accumulation_steps=4)
    assert (args.train_batch_size, args.max_steps) == (32, 200)


@pytest.mark.parametrize(("pairs", "views"), [(20, 4), (10_000, 4), (10_001, 0)])
def test_a_frozen_backbone_sees_each_image_four_times_if_the_maps_fit(tmp_path, pairs, views):
    model = BriVLForPreTraining(tiny_config(vision={"trainable_backbone": [], "train_batch_norm": False}))
    assert fit(tmp_path, model, pairs)[1].cached_views == views


@pytest.mark.parametrize(
    ("text", "pairs", "cached"),
    [
        ({"trainable_backbone": ["layer.1"]}, 40_000, 1),
        ({"trainable_backbone": []}, 40_001, 0),
        ({"trainable_backbone": [], "attend_padding": True}, 20, 0),
        ({"trainable_backbone": None}, 20, 0),
    ],
)
def test_frozen_layers_of_the_text_encoder_see_each_caption_once_if_the_states_fit(tmp_path, text, pairs, cached):
    model = BriVLForPreTraining(tiny_config(text=text))
    assert fit(tmp_path, model, pairs)[1].cached_texts == cached
    assert fit(tmp_path, model, pairs, {"cached_texts"})[1].cached_texts == 0


@pytest.mark.parametrize("options", [{}, {"data": "shards", "streaming": True}])
def test_only_pairs_whose_number_is_known_fit(options):
    with pytest.raises(ValueError, match="fit_to_data is for pairs of your own"):
        DataArguments(fit_to_data=True, **options)
