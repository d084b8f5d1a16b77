import pickle

import pytest
from wenlan.data import DetectionRows, load_emoji_scenes


@pytest.fixture(scope="module")
def rows():
    return DetectionRows(load_emoji_scenes("detect", 3, num_classes=16, canvas=128), seed=5)


def test_row_holds_the_undecoded_image_its_objects_and_a_seed(rows):
    row = rows[0]
    assert set(row) == {"image", "image_id", "objects", "draw_seed"}
    assert row["image"].startswith(b"\x89PNG")
    assert row["objects"][0]["bbox"]


def test_draw_seed_depends_on_seed_epoch_and_index_alone(rows):
    first = [rows[index]["draw_seed"] for index in range(3)]
    rows.set_epoch(1)
    second = [rows[index]["draw_seed"] for index in range(3)]
    rows.set_epoch(0)
    assert [rows[index]["draw_seed"] for index in range(3)] == first
    assert len({*first, *second}) == 6
    assert DetectionRows(rows.dataset, seed=6)[0]["draw_seed"] != first[0]


def test_copy_in_a_worker_starts_at_the_epoch_at_hand(rows):
    rows.set_epoch(2)
    copy = pickle.loads(pickle.dumps(rows))
    assert copy[0]["draw_seed"] == rows[0]["draw_seed"]
    rows.set_epoch(0)


def test_index_out_of_range_ends_an_iteration(rows):
    assert len(list(rows)) == len(rows) == 3
    with pytest.raises(IndexError):
        rows[-1]
