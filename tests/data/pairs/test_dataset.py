import io
import random

import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as PILImage
from torch.utils.data import DataLoader
from wenlan.data import TrainingPairs, draw_text, load_emoji7

CAPTIONS = [f"caption {i}" for i in range(20)]


@pytest.fixture
def rows():
    return Dataset.from_dict({"image": ["a.png"] * 6, "text": [CAPTIONS] * 6, "label": [5, 4, 3, 2, 1, 0]})


def drawn(pairs):
    return [(pair["text"], pair["draw_seed"]) for pair in map(pairs.__getitem__, range(len(pairs)))]


def test_pair_holds_image_text_group_and_seed(rows):
    pair = TrainingPairs(rows, group_column="label")[1]
    assert sorted(pair) == ["draw_seed", "group_id", "image", "text"]
    assert (pair["image"], pair["group_id"]) == ("a.png", 4)
    assert pair["text"] in CAPTIONS
    assert 0 <= pair["draw_seed"] < 2**63


def test_group_is_unknown_without_a_column(rows):
    assert TrainingPairs(rows)[0]["group_id"] == -1


def test_one_string_is_taken_as_it_is():
    rows = Dataset.from_dict({"image": ["a.png"], "caption": ["red"]})
    assert TrainingPairs(rows, text_column="caption")[0]["text"] == "red"


def test_draws_repeat_for_the_same_seed_epoch_and_index(rows):
    first, second = TrainingPairs(rows, seed=7), TrainingPairs(rows, seed=7)
    first.set_epoch(3)
    second.set_epoch(3)
    backwards = [second[index] for index in reversed(range(6))]
    assert [first[index] for index in range(6)] == backwards[::-1]


def test_draws_differ_between_rows_epochs_and_seeds(rows):
    pairs = TrainingPairs(rows)
    first = drawn(pairs)
    pairs.set_epoch(1)
    assert len({seed for _, seed in [*first, *drawn(pairs), *drawn(TrainingPairs(rows, seed=1))]}) == 18
    assert drawn(pairs) != first
    pairs.set_epoch(0)
    assert drawn(pairs) == first


def test_numbers_of_a_pinned_draw_stay(rows):
    rng = random.Random("0-2-4")
    seed, text = rng.getrandbits(63), rng.choice(CAPTIONS)
    pairs = TrainingPairs(rows)
    pairs.set_epoch(2)
    assert drawn(pairs)[4] == (text, seed)


def test_global_generator_is_neither_read_nor_moved(rows):
    pairs = TrainingPairs(rows)
    random.seed(0)
    state, first = random.getstate(), drawn(pairs)
    assert random.getstate() == state
    random.seed(1)
    assert drawn(pairs) == first


def test_seed_for_augmentation_does_not_depend_on_how_the_text_is_drawn(rows):
    plain = TrainingPairs(rows)
    busy = TrainingPairs(rows, draw_text=lambda row, rng: str([rng.random() for _ in range(9)]))
    assert [seed for _, seed in drawn(plain)] == [seed for _, seed in drawn(busy)]


def test_workers_that_outlive_an_epoch_see_the_new_one(rows):
    pairs = TrainingPairs(rows)
    loader = DataLoader(pairs, batch_size=None, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in range(2):
        pairs.set_epoch(epoch)
        seen.append([(pair["text"], pair["draw_seed"]) for pair in loader])
    assert seen[1] == drawn(pairs)
    assert seen[0] != seen[1]


def test_encoded_image_is_handed_on_undecoded_so_that_a_damaged_one_does_no_harm():
    features = Features({"image": Image(), "text": Value("string")})
    rows = Dataset.from_dict({"image": [b"damaged", {"path": "a.png"}], "text": ["x", "y"]}, features=features)
    pairs = TrainingPairs(rows)
    assert [pairs[0]["image"], pairs[1]["image"]] == [b"damaged", "a.png"]


def test_boxes_pass_through():
    rows = Dataset.from_dict({"image": ["a.png"], "text": ["x"], "boxes": [[[0, 0, 2, 3]]]})
    assert TrainingPairs(rows)[0]["boxes"] == [[0, 0, 2, 3]]


def test_rows_without_boxes_have_none_where_others_have_some():
    rows = Dataset.from_dict({"image": ["a.png", "b.png"], "text": ["x", "y"], "boxes": [None, [[0, 0, 2, 3]]]})
    assert [pair["boxes"] for pair in TrainingPairs(rows)] == [[], [[0, 0, 2, 3]]]


def test_rows_for_which_the_same_caption_is_drawn_are_one_group():
    captions = [["red", "blue"], ["red", "blue"], [" RED", "Blue "], ["green"]]
    rows = Dataset.from_dict({"image": ["a.png"] * 4, "text": captions})
    pairs = TrainingPairs(rows, group_by_caption=True)
    groups = {}
    for epoch in range(5):
        pairs.set_epoch(epoch)
        for pair in pairs:
            groups.setdefault(pair["text"].strip().casefold(), set()).add(pair["group_id"])
    assert [len(ids) for ids in groups.values()] == [1, 1, 1]
    assert len(set.union(*groups.values())) == 3


def test_groups_cannot_be_made_in_two_ways(rows):
    with pytest.raises(ValueError, match="grouped by 'label'"):
        TrainingPairs(rows, group_column="label", group_by_caption=True)


def test_missing_columns_are_all_named_at_construction(rows):
    with pytest.raises(ValueError, match=r"lacks the columns \['caption', 'concept'\].*'label'"):
        TrainingPairs(rows, text_column="caption", group_column="concept")


@pytest.mark.parametrize("index", [-1, 6])
def test_index_outside_is_refused(rows, index):
    with pytest.raises(IndexError):
        TrainingPairs(rows)[index]


def test_emoji7_rows_become_pairs():
    emoji7 = load_emoji7()["train"]
    pairs = TrainingPairs(emoji7, draw_text=draw_text, group_column="concept_id")
    pair, row = pairs[9], emoji7[9]
    assert len(pairs) == 4209
    assert pair["group_id"] == row["concept_id"]
    assert set(pair["text"].split("，")) <= {row["name_zh"], *row["keywords_zh"]}
    assert PILImage.open(io.BytesIO(pair["image"])).tobytes() == row["image"].tobytes()
