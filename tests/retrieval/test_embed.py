import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoProcessor
from wenlan.data import load_emoji7
from wenlan.pipelines import embed_images, embed_texts
from wenlan.retrieval import embed_to_parquet

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    for index, row in enumerate(load_emoji7()["test"].select(range(5))):
        row["image"].save(folder / "inner" / f"{index}.png")
    return folder


def test_embeddings_of_a_folder_equal_those_of_the_python_api(quickstart_folder, images, tmp_path):
    report = embed_to_parquet(str(quickstart_folder), images, tmp_path / "out.parquet", batch_size=2)
    table = pq.read_table(tmp_path / "out.parquet")
    assert report.rows == 5
    assert table["id"].to_pylist() == [f"inner/{index}.png" for index in range(5)]
    model, processor = AutoModel.from_pretrained(quickstart_folder), AutoProcessor.from_pretrained(quickstart_folder)
    expected = embed_images(model, processor, sorted((images / "inner").iterdir()))
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected, atol=1e-5, rtol=0)


def test_bad_images_are_skipped_and_counted_by_cause(quickstart_folder, images, tmp_path):
    (images / "a.jpg").write_bytes(b"")
    (images / "b.png").write_text("not an image")
    (images / "c.png").write_bytes((images / "inner" / "0.png").read_bytes()[:200])
    report = embed_to_parquet(str(quickstart_folder), images, tmp_path / "out.parquet")
    assert report.rows == 5
    assert report.skipped == {"empty file": 1, "not an image": 1, "truncated": 1}


def test_sentences_keep_their_order_and_blank_lines_are_counted(quickstart_folder, tmp_path):
    source = tmp_path / "sentences.txt"
    source.write_bytes("\ufeff猫\n\n\u200b\n\u3164\u2800\n红色的心\n".encode() + b"\xff\xfe\n")
    report = embed_to_parquet(str(quickstart_folder), source, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == ["猫", "红色的心"]
    assert report.skipped == {"empty line": 3, "invalid UTF-8": 1}
    model, processor = AutoModel.from_pretrained(quickstart_folder), AutoProcessor.from_pretrained(quickstart_folder)
    expected = embed_texts(model, processor, ["猫", "红色的心"])
    torch.testing.assert_close(torch.tensor(table["embedding"].to_pylist()), expected, atol=1e-6, rtol=0)


def test_nothing_is_written_when_nothing_can_be_embedded(quickstart_folder, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="not an image"):
        embed_to_parquet(str(quickstart_folder), folder, tmp_path / "out" / "x.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_source_is_named(quickstart_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        embed_to_parquet(str(quickstart_folder), tmp_path / "nowhere", tmp_path / "out.parquet")
