import numpy as np
import pytest
from wenlan.analysis.word_neighbors.graph import (
    ORANGE,
    Neighborhood,
    draw_neighborhoods,
    layout,
    neighbor_graph,
    spread,
)

WORDS = [f"词{chr(0x4E00 + number)}" for number in range(40)]


def make(space: str, first: int, count: int = 31, seed: int = 0) -> Neighborhood:
    rows = np.random.default_rng(seed).standard_normal((count, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Neighborhood(space, ["成功", *WORDS[first : first + count - 1]], rows @ rows.T)


def overlaps(centres: np.ndarray, boxes: np.ndarray) -> int:
    apart, room = np.abs(centres[:, None] - centres[None]), (boxes[:, None] + boxes[None]) / 2
    return int(np.triu((apart < room).all(axis=2), 1).sum())


def test_word_is_tied_to_all_and_each_to_those_nearest():
    one = make("a", 0)
    graph = neighbor_graph(one.cosines)
    assert graph.degree[0] == 30
    near = np.argsort(-one.cosines[7])
    wanted = [index for index in near.tolist() if index not in (0, 7)][:3]
    assert set(wanted) <= set(graph[7])
    assert all(0.1 <= weight <= 1 for *_, weight in graph.edges.data("weight"))


def test_layout_is_the_same_for_the_same_seed():
    graph = neighbor_graph(make("a", 0).cosines)
    np.testing.assert_array_equal(layout(graph, seed=1), layout(graph, seed=1))
    assert np.abs(layout(graph, seed=1) - layout(graph, seed=2)).max() > 0.01


def test_labels_cover_no_other_label_and_stay_in_the_panel():
    rng = np.random.default_rng(0)
    centres, boxes = rng.uniform(250, 450, (31, 2)), np.stack([rng.uniform(40, 130, 31), np.full(31, 28)], axis=1)
    centres[3] = centres[4]
    moved = spread(centres, boxes, 720)
    assert overlaps(centres, boxes) > 20
    assert overlaps(moved, boxes) == 0
    assert (moved - boxes / 2 >= 0).all()
    assert (moved + boxes / 2 <= 720).all()


def test_shared_words_have_one_colour_in_both_panels():
    image = draw_neighborhoods([make("文本", 0), make("BriVL", 8, seed=1)])
    pixels = np.array(image)
    orange = (pixels == [int(ORANGE[place : place + 2], 16) for place in (1, 3, 5)]).all(axis=2)
    left, right = orange[:, : image.width // 2], orange[:, image.width // 2 :]
    assert left.sum() == pytest.approx(right.sum(), rel=0.2)
    assert left.sum() > 5000
    apart = np.array(draw_neighborhoods([make("a", 0, 11), make("b", 20, 11)]))
    assert not (apart == [246, 165, 75]).all(axis=2).any()


def test_words_without_a_font_are_labelled_by_their_places(only_pillow, caplog):
    image = draw_neighborhoods([make("a", 0, count=6), make("空间", 3, count=6)])
    assert "'#1' stands for '词一' in the image" in caplog.text
    assert "'space 2' stands for '空间' in the image" in caplog.text
    assert np.ptp(np.asarray(image)) > 0
