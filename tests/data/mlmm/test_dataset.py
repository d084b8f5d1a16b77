import numpy as np
import pytest
from wenlan.data import MLMMExamples, draw_evaluation
from wenlan.data.mlmm.dataset import draw_specs


def draw(corpus, task, seed=0):
    captions = [(language, np.arange(len(table))) for language, table in corpus.captions.items()]
    return draw_specs([corpus], 0, task, captions, np.random.default_rng(seed))


def test_half_of_the_matching_examples_have_a_wrong_image(make_corpus):
    corpus = make_corpus(size=21)
    draws = draw(corpus, "itm")
    own = [corpus.captions[one.language].images[one.caption] == one.image for one in draws]
    assert own == [one.itm_label == 1 for one in draws]
    assert sum(own) == 21  # of 42


def test_wrong_image_is_of_another_group_and_varies(make_corpus):
    corpus = make_corpus(size=20, image_groups=[number // 4 for number in range(20)])
    wrong = [(one.caption, one.image) for seed in range(20) for one in draw(corpus, "itm", seed) if not one.itm_label]
    assert all(caption // 4 != image // 4 for caption, image in wrong)
    assert {image for _, image in wrong} == set(range(20))


@pytest.mark.parametrize("task", ["mlm", "mrfr", "mrc"])
def test_other_tasks_keep_the_images(make_corpus, task):
    assert all(one.caption == one.image and one.itm_label == 1 for one in draw(make_corpus(), task))


def test_length_counts_tokens_and_the_regions_of_the_drawn_image(make_corpus):
    corpus = make_corpus()
    for one in draw(corpus, "itm"):
        tokens = corpus.captions[one.language].lengths[one.caption]
        assert one.length == tokens + corpus.region_counts[one.image]


def test_drawn_row_is_the_caption_with_the_image(make_corpus):
    corpora = [make_corpus(), make_corpus(size=5, languages=("zh",))]
    draws = [*draw_evaluation(corpora, "itm"), *draw_evaluation(corpora, "mrc")]
    for one, row in zip(draws, MLMMExamples(corpora).__getitems__(draws), strict=True):
        assert row["text"] == corpora[one.corpus].captions[one.language].text(one.caption)
        assert row["regions"]["image_id"] == f"image{one.image}"
        assert (row["task"], row["itm_label"], row["language"]) == (one.task, one.itm_label, one.language)
        assert row["seed"] == one.seed


def test_dataset_of_an_evaluation_has_numbers_for_keys(make_corpus):
    corpora = [make_corpus()]
    draws = draw_evaluation(corpora, "mlm")
    dataset = MLMMExamples(corpora, draws)
    assert len(dataset) == len(draws) == 40
    assert dataset[3]["text"] == corpora[0].captions[draws[3].language].text(draws[3].caption)


def test_evaluation_is_the_same_at_every_call_and_longest_first(make_corpus):
    corpora = [make_corpus()]
    draws = draw_evaluation(corpora, "itm", seed=3)
    assert draws == draw_evaluation(corpora, "itm", seed=3)
    assert draws != draw_evaluation(corpora, "itm", seed=4)
    lengths = [one.length for one in draws]
    assert lengths == sorted(lengths, reverse=True)


def test_evaluation_of_some_examples_draws_them_from_all(make_corpus):
    draws = draw_evaluation([make_corpus()], "mlm", max_examples=10)
    assert len({(one.language, one.caption) for one in draws}) == 10
    assert {one.language for one in draws} == {"en", "de"}


def test_corpus_without_the_task_is_not_evaluated_on_it(make_corpus):
    corpora = [make_corpus(), make_corpus(size=5, languages=("zh",), tasks={"itm": 9})]
    assert {one.corpus for one in draw_evaluation(corpora, "mlm")} == {0}
    with pytest.raises(ValueError, match="No corpus has the task mlm"):
        draw_evaluation(corpora[1:], "mlm")
    with pytest.raises(ValueError, match="Unknown task 'vqa'"):
        draw_evaluation(corpora, "vqa")
