import logging

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import BertTokenizer
from wenlan.data import MLMMExamples, draw_evaluation
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining
from wenlan.processing import MLMMPretrainingCollator, MLMMProcessor


@pytest.fixture
def collator(small_tokenizer):
    return MLMMPretrainingCollator(MLMMProcessor(small_tokenizer, region_feature_dim=12))


@pytest.fixture
def rows(make_corpus):
    """Makes the rows of a task: texts and images of different lengths."""

    def make(task, count=10):
        corpora = [make_corpus()]
        return MLMMExamples(corpora).__getitems__(draw_evaluation(corpora, task)[:count])

    return make


def plain(collator, rows):
    return collator.processor(text=[row["text"] for row in rows], regions=[row["regions"] for row in rows])


def test_matching_hides_nothing(collator, rows):
    batch = collator(given := rows("itm"))
    expected = plain(collator, given)
    assert batch.pop("task") == "itm"
    assert batch.pop("itm_labels").tolist() == [row["itm_label"] for row in given]
    assert set(batch) == set(expected)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_masked_words_see_all_regions(collator, rows):
    batch = collator(given := rows("mlm"))
    expected = plain(collator, given)
    chosen = batch["mlm_labels"] != -100
    assert chosen.any(dim=1).all()
    assert torch.equal(batch["mlm_labels"][chosen], expected["input_ids"][chosen])
    assert torch.equal(batch["input_ids"][~chosen], expected["input_ids"][~chosen])
    assert not torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["region_features"], expected["region_features"])
    assert "masked_regions" not in batch


def test_neither_special_tokens_nor_padding_are_chosen(collator, rows):
    batch = collator(rows("mlm", 40))
    special = torch.isin(plain(collator, rows("mlm", 40))["input_ids"], torch.tensor([0, 1, 2]))
    assert special.sum() > 80
    assert (batch["mlm_labels"][special] == -100).all()


def test_masked_features_see_all_words(collator, rows):
    batch = collator(given := rows("mrfr"))
    expected = plain(collator, given)
    masked = batch["masked_regions"]
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert masked.any(dim=1).all()
    assert not (masked & (expected["region_attention_mask"] == 0)).any()
    assert torch.equal(batch["mrfr_labels"], expected["region_features"][masked])


def test_masked_classes_are_the_distributions_of_the_detector(collator, rows):
    batch = collator(given := rows("mrc"))
    probs = [torch.from_numpy(row["regions"]["class_probs"]) for row in given]
    rights = [each[mask[: len(each)]] for each, mask in zip(probs, batch["masked_regions"], strict=True)]
    assert torch.equal(batch["mrc_labels"], torch.cat(rights))
    assert "region_class_probs" not in batch


@pytest.mark.parametrize("task", ["mlm", "mrfr"])
def test_what_is_masked_follows_from_the_seed_of_a_row_alone(collator, rows, task):
    given = rows(task)
    alone, together = collator(given[2:3]), collator(given)
    name = {"mlm": "mlm_labels", "mrfr": "masked_regions"}[task]
    width = alone[name].shape[1]
    assert torch.equal(alone[name][0], together[name][2, :width])
    other = collator([row | {"seed": row["seed"] + 1} for row in given])
    assert not torch.equal(other[name], together[name])


@pytest.mark.parametrize("task", ["itm", "mlm", "mrfr", "mrc"])
def test_model_takes_the_batch_as_it_is(collator, rows, task):
    config = MLMMConfig(
        vocab_size=8000,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        region_feature_dim=12,
        num_region_classes=5,
    )
    output = MLMMForPreTraining(config)(**collator(rows(task)))
    assert list(output.losses) == [task]
    assert output.loss.isfinite()


def test_bad_image_is_left_out_counted_and_said_once(collator, rows, caplog):
    given = rows("mlm")
    for at, changes in ((1, {"features": np.full((4, 12), np.nan)}), (4, {"features": np.full((4, 12), np.nan)})):
        given[at]["regions"] = given[at]["regions"] | changes | {"boxes": np.zeros((4, 4))}
    with caplog.at_level(logging.WARNING):
        batch = collator(given)
    assert len(batch["input_ids"]) == len(batch["region_features"]) == 8
    kept = [row for at, row in enumerate(given) if at not in (1, 4)]
    assert torch.equal(batch["mlm_labels"], collator(kept)["mlm_labels"])
    assert collator.bad_rows.counts == {"not finite": 2}
    assert sum("NaN" in record.getMessage() for record in caplog.records) == 1


def test_bad_images_of_workers_are_counted_together(collator, rows):
    given = [row | {"regions": row["regions"] | {"boxes": np.full((9, 4), 999.0)}} if at % 4 == 0 else row
             for at, row in enumerate(rows("itm", 16))]  # fmt: skip
    batches = list(DataLoader(given, batch_size=4, collate_fn=collator, num_workers=2))
    assert [len(batch["input_ids"]) for batch in batches] == [3, 3, 3, 3]
    assert collator.bad_rows.counts == {"bad boxes": 4}


def test_batch_of_bad_images_only_is_an_error(collator, rows):
    given = [row | {"regions": row["regions"] | {"features": np.zeros((0, 12))}} for row in rows("itm")]
    with pytest.raises(ValueError, match=r"None of the 10 images .* {'no regions': 10}"):
        collator(given)


def test_rows_of_two_tasks_are_an_error(collator, rows):
    with pytest.raises(ValueError, match=r"these rows have \['itm', 'mlm'\]"):
        collator([*rows("itm"), *rows("mlm")])


def test_tokenizer_without_a_mask_is_refused(small_tokenizer):
    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, mask_token=None)
    with pytest.raises(ValueError, match="no mask token"):
        MLMMPretrainingCollator(MLMMProcessor(tokenizer))
