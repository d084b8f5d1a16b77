import weakref

import pytest
import torch
from helpers.brivl.tiny import TINY_BERT, tiny_config
from wenlan.modeling_brivl import BriVLTextConfig, BriVLTextModel
from wenlan.processing import BriVLImageProcessor, BriVLProcessor, ContrastiveCollator, build_character_tokenizer
from wenlan.training.brivl.feature_cache import CachedFeatureMaps
from wenlan.training.brivl.text_cache import CachedTextStates, TextStates, standardize_states

TEXTS = ["猫", "老虎的脸", "a cat", "红色的老虎的脸和猫", "猫", "脸"]


@pytest.fixture
def processor():
    tokenizer = build_character_tokenizer(TEXTS, max_length=16)
    return BriVLProcessor(BriVLImageProcessor(size=24), tokenizer, max_text_length=8)


def build_tower(trainable=(), **text):
    torch.manual_seed(0)
    config = tiny_config(text={"trainable_backbone": list(trainable), "max_text_length": 8, **text}).text_config
    return BriVLTextModel(config)


@pytest.mark.parametrize("trainable", [[], ["layer.1"]])
def test_states_are_those_of_the_text_alone_and_in_a_batch(processor, trainable):
    tower = build_tower(trainable).eval()
    states = TextStates(TEXTS, tower, processor)
    batch = processor(text=TEXTS, return_tensors="pt")
    expected = tower.run_trunk(**batch)
    for row, text in enumerate(TEXTS):
        length = int(batch["attention_mask"][row].sum())
        torch.testing.assert_close(states[text].float(), expected[row, :length], atol=2e-3, rtol=2e-3)
        assert len(states[text]) == min(length, 8)
    assert states.states.dtype == torch.float16


def test_mode_of_the_tower_stays_and_its_dropout_does_not_touch_the_states(processor):
    tower = build_tower()
    tower.backbone.config.hidden_dropout_prob = 0.5
    for module in tower.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    first, second = TextStates(TEXTS, tower.train(), processor), TextStates(TEXTS, tower.eval(), processor)
    assert torch.equal(first.states, second.states)
    tower.train()
    TextStates(TEXTS, tower, processor)
    assert tower.training


def test_text_that_was_not_among_them_is_an_error(processor):
    with pytest.raises(KeyError, match="狗"):
        TextStates(TEXTS, build_tower(), processor)["狗"]


@pytest.mark.parametrize("change", [{"trainable_backbone": None}, {"attend_padding": True}])
def test_texts_of_an_encoder_that_trains_or_sees_padding_are_not_cached(processor, change):
    config = tiny_config(text={"trainable_backbone": [], **change}).text_config
    with pytest.raises(ValueError, match="frozen layers that does not attend to padding"):
        TextStates(TEXTS, BriVLTextModel(config), processor)


class Pairs:
    """Two images, one with a list of texts."""

    epoch = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        texts = [["猫", "脸"], ["a cat", "老虎的脸"]][index]
        groups = [[4], [4, 5]] if self.epoch == 0 else [[6], [6]]
        return {"feature_map": torch.zeros(2, 1, 1), "text": texts, "text_group_ids": groups, "group_id": index}

    def set_epoch(self, epoch):
        self.epoch = epoch


def test_cached_pairs_collate_to_padded_states_that_the_tower_takes(processor):
    tower = build_tower().eval()
    pairs = CachedTextStates(Pairs(), TextStates(TEXTS, tower, processor))
    batch = ContrastiveCollator(processor)([pairs[index] for index in range(len(pairs))])
    texts = processor(text=["猫", "脸", "a cat", "老虎的脸"], return_tensors="pt")
    assert sorted(batch) == ["attention_mask", "feature_map", "group_ids", "text_group_ids", "text_states"]
    assert torch.equal(batch["attention_mask"], texts["attention_mask"])
    assert batch["text_group_ids"].tolist() == [[4, -1], [4, 5], [4, -1], [4, 5]]
    assert batch["text_states"].dtype == torch.float32
    cached = tower(trunk_states=batch["text_states"], attention_mask=batch["attention_mask"]).pooler_output
    torch.testing.assert_close(cached, tower(**texts).pooler_output, atol=2e-3, rtol=2e-3)
    pairs.set_epoch(1)
    assert pairs[0]["text_group_ids"] == [[6], [6]]


def test_freed_pairs_hold_neither_states_nor_maps(processor):
    class Maps(CachedFeatureMaps):
        def __init__(self):
            self.maps = torch.zeros(1, 2, 3, 2, 2)

    pairs = CachedTextStates(Maps(), TextStates(TEXTS, build_tower(), processor))
    held = [weakref.ref(pairs.states.states), weakref.ref(pairs.pairs.maps)]
    pairs.free()
    assert [one() for one in held] == [None, None]


def test_collator_without_states_reads_all_texts_of_a_row(processor):
    rows = [Pairs()[0], {**Pairs()[1], "text": ["a cat", " "]}]
    collator = ContrastiveCollator(processor)
    batch = collator(rows)
    assert batch["input_ids"].shape[0] == 2
    assert collator.bad_rows.counts == {"empty text": 1}


def test_standardised_states_have_mean_zero_and_deviation_one(processor):
    tower = build_tower().train()
    batch = processor(text=TEXTS, return_tensors="pt")
    real = batch["attention_mask"].bool()
    before = tower.eval().backbone(**batch).last_hidden_state[real]
    standardize_states(tower, processor, TEXTS)
    after = tower.backbone(**batch).last_hidden_state[real]
    torch.testing.assert_close(after, (before - before.mean(0)) / before.std(0), atol=1e-4, rtol=1e-4)
    assert after.mean(0).abs().max() < 1e-5 < 0.1 < before.mean(0).abs().max()
    torch.testing.assert_close(after.std(0), torch.ones(20), atol=1e-4, rtol=0)


def test_encoder_without_a_layer_norm_at_its_end_is_not_standardised(processor):
    encoder = {"model_type": "distilbert", "dim": 20, "n_layers": 1, "n_heads": 2, "hidden_dim": 28, "vocab_size": 61}
    tower = BriVLTextModel(BriVLTextConfig(encoder_config=encoder, projection_dim=24, num_attention_heads=2))
    with pytest.raises(ValueError, match="standardize_text_states: distilbert"):
        standardize_states(tower, processor, TEXTS)
    assert TINY_BERT["hidden_size"] == 20
