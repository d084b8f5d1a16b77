import pickle

import numpy as np
import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from PIL import Image
from wenlan.data.rows.report import BadRowError
from wenlan.retrieval.embed_worker import EmbedWorker


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    save_tiny_folder(folder := tmp_path_factory.mktemp("model"))
    return str(folder)


def test_piece_of_images_or_of_sentences_gives_unit_rows_and_its_bad_items(model, tmp_path):
    worker = EmbedWorker(model, batch_size=2)
    for name, color in (("a.png", "red"), ("b.png", "blue"), ("c.png", "green")):
        Image.new("RGB", (40, 30), color).save(tmp_path / name)
    (tmp_path / "d.png").write_bytes(b"")
    images = worker([(name, tmp_path / name) for name in ("d.png", "a.png", "b.png", "c.png")])
    texts = worker([("line 1", "一只猫"), ("line 2", BadRowError("empty text", "''"))])
    assert (images.ids, texts.ids) == (["a.png", "b.png", "c.png"], ["一只猫"])
    for found in (images, texts):
        assert (found.embeddings.dtype, found.embeddings.shape) == (np.float32, (len(found.ids), worker.dim))
        np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-5)
        assert len(found.bad) == 1
    assert [(place, error.cause) for place, error in images.bad + texts.bad] == [
        ("d.png", "empty file"),
        ("line 2", "empty text"),
    ]
    nothing = worker([("d.png", tmp_path / "d.png")])
    assert (nothing.ids, nothing.embeddings.shape) == ([], (0, worker.dim))


def test_another_process_opens_an_equal_worker_or_none(model, tmp_path):
    worker = EmbedWorker(model)
    opener = worker.opener()
    assert opener() is worker
    pickled = pickle.dumps(opener)
    again = pickle.loads(pickled)()
    items = [("line 1", "一只猫")]
    np.testing.assert_array_equal(again(items).embeddings, worker(items).embeddings)
    with pytest.raises(ValueError, match="changed while it was used"):
        EmbedWorker(model, expected=worker.settings | {"model": "another"})
