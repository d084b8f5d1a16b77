import numpy as np
import pytest
from PIL import Image
from wenlan.analysis.word_neighbors.controls import random_like
from wenlan.analysis.word_neighbors.images import (
    NamedImages,
    named_images,
    pixel_vector,
    rank_drops,
    visual_correlations,
)


@pytest.fixture(scope="module")
def held():
    return named_images("held")


def test_colours_on_white_are_compared():
    clear, red = Image.new("RGBA", (96, 96)), Image.new("RGB", (50, 40), "red")
    assert (pixel_vector(clear) == 1).all()
    np.testing.assert_allclose(pixel_vector(red).reshape(-1, 3), [[1, 0, 0]] * 144)


def test_names_are_different_and_similar_to_themselves(held):
    assert len(set(held.names)) == len(held.names) == len(held.subgroups) == 140
    np.testing.assert_allclose(np.diag(held.similarity), 1)
    some = held.keep(["斑马", *held.names[3:5]])
    assert some.names == held.names[3:5]
    np.testing.assert_array_equal(some.similarity, held.similarity[3:5, 3:5])


def test_pairs_are_of_one_super_class_without_a_common_character(held):
    alike, unlike = held.pairs(alike=True), held.pairs(alike=False)
    for pairs in (alike, unlike):
        assert len(set(pairs.ravel())) == pairs.size > 40
        for one, other in pairs:
            assert held.subgroups[one] == held.subgroups[other]
            assert set(held.names[one]).isdisjoint(held.names[other])
    assert held.similarity[tuple(alike[:10].T)].mean() > held.similarity[tuple(unlike[:10].T)].mean() + 0.8
    assert (np.diff(held.similarity[tuple(alike.T)]) <= 0).all()
    assert len(held.pairs(alike=True, number=5)) == 5


def test_space_that_knows_what_things_look_like_is_told_from_one_that_does_not():
    """Vectors of names that are the drawings and some noise, against random ones."""
    rng = np.random.default_rng(0)
    looks = rng.standard_normal((200, 12))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    images = NamedImages([chr(0x4E00 + n) for n in range(200)], [str(n % 4) for n in range(200)], looks @ looks.T)
    blind = random_like(np.empty((200, 12)), seed=1)
    sees = (looks + 0.1 * rng.standard_normal(looks.shape)).astype(np.float32)
    own, permuted = visual_correlations(sees, images, images.permute(seed=2))
    assert own.mean() > 0.8
    assert abs(permuted.mean()) < 0.05
    assert abs(visual_correlations(blind, images)[0].mean()) < 0.05
    pairs = images.pairs(alike=True, number=60)
    assert rank_drops(blind, sees, pairs).mean() > 60
    assert (rank_drops(sees, sees, pairs) == 0).all()
