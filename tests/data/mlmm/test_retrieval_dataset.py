from collections import Counter
from dataclasses import replace

import pytest
from wenlan.data import MLMMRetrievalExamples


def group_of(corpus, row):
    """The images of a row and of its wrong captions, by number."""
    numbers = [int(one["image_id"].removeprefix("image")) for one in (row["regions"], *row["wrong_regions"])]
    return numbers, [int(text.split()[1].rstrip(":")) for text in row["wrong_texts"]]


def test_wrong_images_and_captions_are_of_other_groups_and_of_the_language(make_corpus):
    corpus = make_corpus(size=12, image_groups=[number // 3 for number in range(12)])
    dataset = MLMMRetrievalExamples(corpus, num_wrong=3)
    assert len(dataset) == 24
    for row in (dataset[index] for index in range(24)):
        (right, *wrong), captions = group_of(corpus, row)
        assert len(wrong) == len(captions) == 3
        assert all(number // 3 != right // 3 for number in wrong + captions)
        assert {text.split()[0] for text in row["wrong_texts"]} == {row["text"].split()[0]}
        assert row["text"].split()[1] == f"{right}:"


def test_groups_follow_from_seed_epoch_and_index(make_corpus):
    corpus = make_corpus()

    def drawn(seed, epoch):
        dataset = MLMMRetrievalExamples(corpus, seed=seed)
        dataset.set_epoch(epoch)
        return [group_of(corpus, dataset[index]) for index in range(len(dataset))]

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(1, 1)


def test_languages_with_fewer_captions_come_as_often(make_corpus):
    corpus = make_corpus(size=6)
    table = corpus.captions["de"]
    corpus.captions["de"] = replace(table, rows=table.rows[:2], images=table.images[:2], lengths=table.lengths[:2])
    assert len(MLMMRetrievalExamples(corpus)) == 8
    dataset = MLMMRetrievalExamples(corpus, even_languages=True)
    counts = Counter(dataset[index]["text"] for index in range(len(dataset)))
    assert sorted(count for text, count in counts.items() if text.startswith("de")) == [3, 3]
    assert sorted(count for text, count in counts.items() if text.startswith("en")) == [1] * 6


def test_captions_of_one_image_only_have_no_wrong_one(make_corpus):
    corpus = make_corpus(size=3, image_groups=[0, 0, 0], tasks={"mlm": 1})
    with pytest.raises(ValueError, match="one image only"):
        MLMMRetrievalExamples(corpus)
    with pytest.raises(ValueError, match="num_wrong is 0"):
        MLMMRetrievalExamples(make_corpus(), num_wrong=0)


def test_first_wrong_image_and_caption_are_of_a_hard_negative(make_corpus):
    corpus = make_corpus(size=12, hard_negatives={0: [7], 7: [0], 3: [99]})
    dataset = MLMMRetrievalExamples(corpus, num_wrong=2)
    first = {}
    for row in (dataset[index] for index in range(len(dataset))):
        (right, *wrong), captions = group_of(corpus, row)
        assert right not in wrong + captions
        assert {text.split()[0] for text in row["wrong_texts"]} == {row["text"].split()[0]}
        first.setdefault(right, []).append((wrong[0], captions[0]))
    assert first[0] == [(7, 7)] * 2
    assert first[7] == [(0, 0)] * 2
    assert all(wrong < 12 for wrong, _ in first[3])  # 99 is not in the corpus
