import json

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES
from wenlan.data import MLMMRetrievalExamples
from wenlan.processing import MLMMProcessor, MLMMQuestionCollator, MLMMRetrievalCollator, soft_targets

GOLDEN = json.loads((FIXTURES / "mlmm" / "metrics" / "vqa_targets.json").read_text("utf-8"))

NORMALISED = [case for case in GOLDEN["targets"] if set(case["answers"]) <= set(GOLDEN["answer_to_label"])]


@pytest.fixture
def processor(small_tokenizer):
    return MLMMProcessor(small_tokenizer)


def test_pairs_of_a_group_stand_as_in_the_references(make_corpus, processor):
    dataset = MLMMRetrievalExamples(make_corpus(), num_wrong=2)
    rows = [dataset[0], dataset[30]]
    batch = MLMMRetrievalCollator(processor)(rows)
    assert batch["labels"].tolist() == [1, 0, 0, 0, 0] * 2
    texts = processor.batch_decode(batch["input_ids"], skip_special_tokens=True)
    for at, row in zip((0, 5), rows, strict=True):
        assert texts[at : at + 5] == [row["text"]] * 3 + row["wrong_texts"]
        images = [row["regions"], *row["wrong_regions"], row["regions"], row["regions"]]
        for place, image in enumerate(images, start=at):
            shown = batch["region_features"][place, : len(image["features"])]
            assert np.array_equal(shown.numpy(), image["features"].astype(np.float32))


def test_group_with_a_bad_image_is_left_out_and_counted(make_corpus, processor):
    dataset, collator = MLMMRetrievalExamples(make_corpus()), MLMMRetrievalCollator(processor)
    rows = [dataset[0], dataset[1]]
    rows[0]["wrong_regions"][0] = rows[0]["wrong_regions"][0] | {"boxes": np.zeros((1, 4))}
    assert collator(rows)["labels"].tolist() == [1, 0, 0]
    assert collator.bad_rows.counts == {"bad boxes": 1}
    with pytest.raises(ValueError, match="None of the 1 groups"):
        collator(rows[:1])


def test_bad_wrong_image_leaves_out_its_pair_alone(make_corpus, processor):
    collator = MLMMRetrievalCollator(processor)
    row = MLMMRetrievalExamples(make_corpus(), num_wrong=2)[0]
    row["wrong_regions"][1] = row["wrong_regions"][1] | {"boxes": np.zeros((1, 4))}
    batch = collator([row])
    assert batch["labels"].tolist() == [1, 0, 0, 0]
    texts = processor.batch_decode(batch["input_ids"], skip_special_tokens=True)
    assert texts == [row["text"]] * 2 + row["wrong_texts"]
    assert collator.bad_rows.counts == {"bad boxes": 1}


def test_answers_become_scores_of_the_whole_vocabulary(make_image, processor):
    rows = [
        {"text": "Is there a cat?", "regions": make_image(0), "answers": {0: 1.0, 2: 0.3}},
        {"text": "How many keys are there?", "regions": make_image(1), "answers": {}},
    ]
    batch = MLMMQuestionCollator(processor, num_answers=4)(rows)
    assert torch.equal(batch["labels"], torch.tensor([[1.0, 0, 0.3, 0], [0, 0, 0, 0]]))
    assert len(batch["input_ids"]) == len(batch["region_features"]) == 2


def test_questions_without_answers_have_no_labels(make_image, processor):
    assert "labels" not in MLMMQuestionCollator(processor, 4)([{"text": "What?", "regions": make_image(0)}])


def test_answer_outside_of_the_vocabulary_is_named(make_image, processor):
    row = {"text": "What?", "regions": make_image(0), "answers": {4: 1.0}}
    with pytest.raises(ValueError, match="Answer 4 of 'What\\?' is not among the 4"):
        MLMMQuestionCollator(processor, num_answers=4)([row])


@pytest.mark.parametrize(("agreeing", "score"), list(GOLDEN["score_of_count"].items()))
def test_score_of_an_answer_is_that_of_the_official_accuracy(agreeing, score):
    count = int(agreeing)
    answers = ["cat"] * count + [f"other {index}" for index in range(10 - count)]
    assert soft_targets(answers, {"cat": 7}).get(7, 0.0) == score


@pytest.mark.parametrize("case", NORMALISED)
def test_soft_targets_of_normalised_answers_equal_the_golden_ones(case):
    targets = soft_targets(case["answers"], GOLDEN["answer_to_label"])
    assert targets == dict(zip(case["labels"], case["scores"], strict=True))


def test_single_answer_counts_as_ten():
    assert soft_targets(["猫"], {"猫": 3}) == {3: 1.0}


def test_answers_outside_of_the_vocabulary_leave_none():
    assert soft_targets(["cat"] * 10, {"dog": 0}) == {}
