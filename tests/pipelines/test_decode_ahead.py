"""Images that are decoded ahead."""

from helpers.class_folders import image_bytes
from PIL import Image
from wenlan.data.rows.report import BadRowError
from wenlan.pipelines.decode_ahead import decode_ahead


def test_images_come_in_order_with_what_is_wrong_with_the_others():
    missing = BadRowError("missing field", "none")
    sources = [image_bytes(number, size=10 + number) for number in range(9)]
    sources[2:2] = [b"no image", missing]
    found = list(decode_ahead(iter(sources), num_workers=2))
    assert [one.width for one in found if isinstance(one, Image.Image)] == list(range(10, 19))
    assert (found[2].cause, found[3]) == ("not an image", missing)


def test_only_a_few_are_read_ahead():
    taken = []

    def sources():
        for number in range(50):
            taken.append(number)
            yield image_bytes(number)

    images = decode_ahead(sources(), num_workers=1)
    assert isinstance(next(images), Image.Image)
    assert len(taken) <= 4
    assert len(list(images)) == 49
