import random

import pytest
from PIL import Image, ImageOps
from wenlan.data.cleaning.near_duplicates import MAX_DISTANCE, NearDuplicateIndex, difference_hash


def draw(seed):
    """A smooth image: 6 x 6 random grey cells, scaled up."""
    cells = Image.frombytes("L", (6, 6), random.Random(seed).randbytes(36))
    return cells.resize((240, 180), Image.Resampling.BICUBIC)


def distance(a, b):
    return (difference_hash(a) ^ difference_hash(b)).bit_count()


def test_hash_says_where_a_cell_is_brighter_than_its_right_neighbour():
    falling = Image.linear_gradient("L").rotate(90).resize((9, 8))
    assert difference_hash(falling) in (0, 2**64 - 1)
    assert difference_hash(ImageOps.mirror(falling)) == difference_hash(falling) ^ (2**64 - 1)
    first_cell = Image.new("L", (9, 8))
    first_cell.putpixel((0, 0), 255)
    assert difference_hash(first_cell) == 1 << 63


@pytest.mark.parametrize("seed", range(5))
def test_scaled_and_compressed_image_stays_near(seed, tmp_path):
    image = draw(seed)
    image.resize((120, 90)).save(tmp_path / "small.jpg", quality=50)
    with Image.open(tmp_path / "small.jpg") as small:
        assert distance(image, small) <= MAX_DISTANCE


def test_different_images_are_far():
    images = [draw(seed) for seed in range(20)]
    assert min(distance(a, b) for i, a in enumerate(images) for b in images[:i]) > MAX_DISTANCE


def test_index_finds_exactly_what_a_full_comparison_finds():
    rng = random.Random(0)
    hashes = [rng.getrandbits(64) for _ in range(300)]
    for base in hashes[:150]:  # neighbours at 1 to 6 flipped bits, anywhere
        flipped = base
        for bit in rng.sample(range(64), rng.randint(1, 6)):
            flipped ^= 1 << bit
        hashes.append(flipped)
    index = NearDuplicateIndex()
    found = {}
    for owner, value in enumerate(hashes):
        found[owner] = set(index.find(value))
        index.add(value, owner)
    expected = {
        owner: {other for other in range(owner) if (hashes[other] ^ value).bit_count() <= MAX_DISTANCE}
        for owner, value in enumerate(hashes)
    }
    assert found == expected
    assert sum(map(len, expected.values())) > 50


def test_empty_index_finds_nothing():
    assert NearDuplicateIndex().find(0) == []
