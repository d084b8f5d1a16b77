import numpy as np
import pytest
from datasets import Dataset
from wenlan.data import MLMMCorpus
from wenlan.data.mlmm.corpus import STRONG_TASKS, WEAK_TASKS
from wenlan.data.regions.load import read_regions
from wenlan.data.regions.schema import RegionInfo
from wenlan.data.regions.writer import RegionFolder


@pytest.fixture
def images(make_image):
    return [make_image(number, count=3 + number % 3) for number in range(6)]


def test_captions_know_their_images_and_lengths(images, small_tokenizer):
    corpus = MLMMCorpus(images, {"en": ([5, 2], ["a cat", "two red keys"])}, small_tokenizer)
    table = corpus.captions["en"]
    assert [table.text(at) for at in (0, 1)] == ["a cat", "two red keys"]
    assert table.images.tolist() == [5, 2]
    assert table.lengths.tolist() == [len(ids) for ids in small_tokenizer(["a cat", "two red keys"])["input_ids"]]
    assert corpus.region_counts.tolist() == [3, 4, 5, 3, 4, 5]
    assert (len(corpus), corpus.tasks) == (2, STRONG_TASKS)


def test_captions_that_cannot_be_used_are_left_out_and_counted(images, small_tokenizer, make_image):
    rows = [*images, make_image(9, count=0)]
    texts = ["a cat", " \u200b", "cat " * 100, "a dog", "a key"]
    corpus = MLMMCorpus(rows, {"en": ([0, 1, 2, 6, 3], texts)}, small_tokenizer)
    assert corpus.bad_rows.counts == {"blank": 1, "more than 60 word pieces": 1, "image without regions": 1}
    assert [corpus.captions["en"].text(at) for at in range(len(corpus))] == ["a cat", "a key"]


def test_caption_at_the_limit_stays(images, small_tokenizer):
    pieces = len(small_tokenizer.tokenize("a red key"))
    captions = {"en": ([0, 1], ["a red key", "a red key!"])}
    corpus = MLMMCorpus(images, captions, small_tokenizer, max_text_length=pieces, tasks={"mlm": 1})
    assert (len(corpus), sum(corpus.bad_rows.counts.values())) == (1, 1)


def test_language_without_usable_captions_is_not_drawn(images, small_tokenizer):
    corpus = MLMMCorpus(images, {"en": ([0, 1], ["a", "b"]), "de": ([2], [" "])}, small_tokenizer)
    assert list(corpus.captions) == ["en"]


def test_shards_are_read_like_rows_and_classes_only_where_needed(images, small_tokenizer, tmp_path):
    info = RegionInfo(model_hash="tiny", feature_dim=12, num_classes=5, background_index=0)
    folder = RegionFolder(tmp_path / "regions", [row["image_id"] for row in images], info, shard_size=4)
    for shard in folder.pending():
        folder.write(shard, [info.encode(images[at]) for at in folder.inputs[shard]], [])
    folder.finish(max_bad_fraction=0.1)
    shards = read_regions(tmp_path / "regions", cache_dir=tmp_path / "cache")
    assert isinstance(shards, Dataset)
    corpus = MLMMCorpus(shards, {"en": ([0, 1], ["a cat", "a dog"])}, small_tokenizer)
    assert corpus.region_counts.tolist() == [3, 4, 5, 3, 4, 5]
    (row,) = corpus.read_images([4])
    assert "class_probs" not in row
    assert np.array_equal(row["features"], images[4]["features"])
    (row,) = corpus.read_images([4], with_labels=True)
    np.testing.assert_allclose(row["class_probs"], images[4]["class_probs"], atol=1e-3)


def test_weak_corpus_has_matching_alone(images, small_tokenizer):
    corpus = MLMMCorpus(images, {"zh": ([0, 1], ["猫", "狗"])}, small_tokenizer, tasks=WEAK_TASKS)
    assert list(corpus.tasks) == ["itm"]


@pytest.mark.parametrize(
    ("captions", "options", "message"),
    [
        ({"es": ([0], ["un gato"])}, {}, "Unknown language 'es'"),
        ({"en": ([0], ["a", "b"])}, {}, "2 captions for 1 images"),
        ({"en": ([6], ["a"])}, {}, "regions of 0 to 5"),
        ({"en": ([0], [" "])}, {}, "no usable caption; left out: {'blank': 1}"),
        ({"en": ([3, 3], ["a", "b"])}, {}, "one image only"),
        ({"en": ([0, 1], ["a", "b"])}, {"tasks": {"itm": 1, "cls": 2}}, "unknown tasks \\['cls'\\]"),
        ({"en": ([0, 1], ["a", "b"])}, {"tasks": {"itm": 0}}, "integer weights"),
        ({"en": ([0, 1], ["a", "b"])}, {"tasks": {}}, "integer weights"),
        ({"en": ([0, 1], ["a", "b"])}, {"image_groups": [0] * 6}, "one image only"),
        ({"en": ([0, 1], ["a", "b"])}, {"image_groups": [0]}, "1 image_groups for 6"),
    ],
)
def test_corpus_that_cannot_be_trained_on_is_refused(images, small_tokenizer, captions, options, message):
    with pytest.raises(ValueError, match=message):
        MLMMCorpus(images, captions, small_tokenizer, **options)
