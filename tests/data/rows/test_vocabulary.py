import logging

import pytest
from transformers import BertTokenizer
from wenlan.data.rows.vocabulary import VocabularyCounts, check_vocabulary
from wenlan.processing import build_character_tokenizer

KNOWN = ["一只黑猫", "红色的苹果", "a cat"]


@pytest.fixture(scope="module")
def tokenizer():
    return build_character_tokenizer(KNOWN, max_length=9)


def counts_of(tokenizer, texts, **options):
    counts = VocabularyCounts(tokenizer, **options)
    counts.add(texts)
    return counts


def test_unknown_tokens_texts_and_characters_are_counted(tokenizer):
    counts = counts_of(tokenizer, ["一只白猫", "红苹果", "白的鱼"])
    assert counts.texts == 3
    assert counts.unknown_fraction == pytest.approx(3 / 10)
    assert counts.unknown_text_fraction == pytest.approx(2 / 3)
    assert counts.characters == {"白": 2, "鱼": 1}
    assert counts.cut_fraction == 0


@pytest.mark.parametrize(
    ("texts", "warned"),
    [
        (KNOWN, False),
        (["一只黑猫"] * 9 + ["一只白猫"], False),  # 2.5 % of the tokens, 10 % of the texts
        (
            ["红色的苹果红色的苹果红色的苹果"] * 7 + ["红色的苹果红色的苹果红色的苹鱼"] * 3,
            True,
        ),  # 2 %, but 30 % of the texts
        (["一只黑猫"] * 9 + ["白白白白"], True),  # 10 % of the tokens
        (["卵からかえったひよこの絵"], True),
        (["eine schwarze Katze"], True),
        (["😀"], True),
    ],
)
def test_texts_of_another_vocabulary_are_warned_of(tokenizer, caplog, texts, warned):
    check_vocabulary(tokenizer, texts, max_tokens=100)
    assert ("are [UNK]" in caplog.text) == warned
    assert all(len(record.message) <= 400 for record in caplog.records)


def test_the_warning_names_the_characters_and_what_to_do(tokenizer, caplog):
    check_vocabulary(tokenizer, ["白的鱼", "白的"], what="captions")
    assert "60% of the tokens are [UNK], in 100% of the 2 captions (most often 白 鱼)" in caplog.text
    assert "builds a vocabulary" in caplog.text


def test_a_word_of_known_characters_that_is_unknown_as_a_whole_is_named(tokenizer):
    assert counts_of(tokenizer, ["ca" * 60]).characters == {"ca" * 60: 1}


def test_texts_that_are_cut_are_counted_at_the_shorter_limit(tokenizer, caplog):
    texts = ["红色的苹果", "红色的苹果和猫"]
    assert counts_of(tokenizer, texts, max_tokens=8).cut_fraction == 0.5
    assert counts_of(tokenizer, texts, max_tokens=50).cut_fraction == 0
    check_vocabulary(tokenizer, texts, max_tokens=8)
    assert "50% of the texts are longer than 8 tokens" in caplog.text


def test_a_sequence_is_sampled_evenly_and_a_stream_at_its_start(tokenizer, caplog):
    texts = ["一只黑猫"] * 3000 + ["白白白白"] * 3000
    with caplog.at_level(logging.WARNING):
        assert check_vocabulary(tokenizer, texts).unknown_text_fraction == pytest.approx(0.5, abs=0.1)
        assert check_vocabulary(tokenizer, iter(texts)).unknown_text_fraction == 0
    assert len(caplog.records) == 1


def test_a_tokenizer_without_an_unknown_token_knows_all():
    tokenizer = BertTokenizer(vocab={"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "[MASK]": 4, "a": 5})
    tokenizer.unk_token = None
    assert counts_of(tokenizer, ["bc"]).unknown_fraction == 0
    assert counts_of(tokenizer, []).warnings() == []
