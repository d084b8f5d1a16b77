import numpy as np
import pytest

CLASSES, WIDTH = 5, 12


@pytest.fixture(scope="session")
def small_tokenizer():
    from wenlan.processing import load_small_tokenizer

    return load_small_tokenizer()


@pytest.fixture
def make_picture():
    """Makes rows in the form of `wenlan.data.read_regions`, of a picture of 100 x 200 pixels, different by number."""

    def make(number: int, count: int = 4, width: int = WIDTH, **changes) -> dict:
        rng = np.random.default_rng(number)
        corner = rng.uniform(0, 50, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (count, 2))], axis=1).astype(np.float32)
        probs = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32)
        features = rng.random((count, width)).astype(np.float16)
        row = {"image_id": f"picture{number}", "image_height": 100, "image_width": 200, "boxes": boxes}
        return row | {"features": features, "class_probs": probs, "background_index": 0} | changes

    return make


@pytest.fixture
def make_corpus(make_picture, small_tokenizer):
    """Makes a corpus of pictures with 2 to 9 regions, each with a caption in every language given."""
    from wenlan.processing import MLMMCorpus

    words = ("cat", "dog", "key", "red", "tiger and hammer", "two drums")

    def make(size: int = 20, languages: tuple[str, ...] = ("en", "de"), **options) -> MLMMCorpus:
        rows = [make_picture(number, count=2 + number % 8) for number in range(size)]
        captions = {
            language: (range(size), [f"{language} {number}: {words[number % 6]}" for number in range(size)])
            for language in languages
        }
        return MLMMCorpus(rows, captions, small_tokenizer, **options)

    return make
