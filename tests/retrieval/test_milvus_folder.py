"""An index folder whose vectors are in Milvus."""

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.index_folders import check_index, write_images
from wenlan.retrieval import BuildOptions, SearchEngine, build_index, compact_index, remove_rows
from wenlan.retrieval.store.folder import IndexFolder

COUNT = 8
OPTIONS = BuildOptions(shard_size=5, num_proc=1)


@pytest.mark.slow
def test_folder_in_milvus_is_built_changed_and_searched_like_any_other(tmp_path):
    save_tiny_folder(tmp_path / "model")
    index, model = tmp_path / "index", str(tmp_path / "model")
    photos = write_images(tmp_path / "photos", COUNT)
    options = {"model": model, "options": OPTIONS, "backend": "milvus", "uri": str(tmp_path / "milvus.db")}
    build_index(photos, index, **options)
    build_index(photos, tmp_path / "plain", model=model, options=OPTIONS)
    assert not (index / "faiss").exists()

    def found(folder, **more):
        hits = SearchEngine.open(folder).search(text="猫", k=COUNT + 2, **more)
        return [(hit.id, pytest.approx(hit.score, abs=1e-5), hit.metadata) for hit in hits]

    assert found(index) == found(tmp_path / "plain")
    size = int(IndexFolder.open(index).read(["size"])["size"][3].as_py())
    assert found(index, filter=f"size >= {size}") == found(tmp_path / "plain", filter=f"size >= {size}")
    more_photos = write_images(tmp_path / "more", 1, start=60)
    for folder in (index, tmp_path / "plain"):
        remove_rows(folder, where="path like '%002.png'")
        build_index(more_photos, folder, options=OPTIONS)
        compact_index(folder)
    assert found(index) == found(tmp_path / "plain")
    assert len(check_index(index)) == COUNT

    rest = IndexFolder.open(index)
    with rest.writing():
        rest.remove(rest.read(["key"])["key"].to_pylist()[:3])  # a writer that was killed before it told Milvus
    assert len(SearchEngine.open(index)) == COUNT  # a reader changes nothing there
    build_index(photos, index, options=OPTIONS)
    assert len(check_index(index)) == COUNT + 1  # 002.png is new again
    (index / "milvus" / "milvus.json").unlink()
    with pytest.raises(ValueError, match="not in Milvus yet"):
        SearchEngine.open(index)
    build_index(photos, index, options=OPTIONS)
    check_index(index)
