import pytest
from transformers import AutoTokenizer
from wenlan.processing import build_character_tokenizer

TEXTS = [
    "老虎的脸，在 2026 年！",
    "A Tiger's face: naïve café, ｆｕｌｌ width",
    "トラの顔がぎゅうぎゅう、々〇ー",
    "호랑이 얼굴 (웃는)",
    "größer 😀👍🏽",
]


@pytest.fixture
def tokenizer():
    return build_character_tokenizer(TEXTS, max_length=64)


def test_special_tokens_have_the_first_five_ids(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == 64


@pytest.mark.parametrize("text", TEXTS)
def test_training_texts_have_no_unknown_token(tokenizer, text):
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


@pytest.mark.parametrize("text", ["脸虎老", "regit", "がラトの", "굴얼이", "２02"])
def test_new_words_of_known_characters_have_no_unknown_token(text):
    tokenizer = build_character_tokenizer([*TEXTS, "２"], max_length=64)
    assert tokenizer.unk_token not in tokenizer.tokenize(text)
    assert len(tokenizer.tokenize(text)) == len(text)


def test_han_characters_have_one_form_and_others_two(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert "虎" in vocabulary
    assert "##虎" not in vocabulary
    assert "##，" not in vocabulary
    for character in ("t", "ラ", "호", "2", "々"):
        assert {character, f"##{character}"} <= set(vocabulary)


def test_accents_voiced_kana_and_hangul_survive(tokenizer):
    ids = tokenizer("が호é", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "が호é"
    assert len(ids) == 3


def test_vocabulary_does_not_depend_on_the_order_of_the_texts(tokenizer):
    assert build_character_tokenizer(reversed(TEXTS), max_length=64).get_vocab() == tokenizer.get_vocab()


def test_rare_characters_become_unknown():
    tokenizer = build_character_tokenizer(["虎虎猫"], max_length=8, min_count=2)
    assert tokenizer.tokenize("虎猫") == ["虎", "[UNK]"]


def test_saved_and_loaded_by_the_auto_class_tokenizes_alike(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == 64
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_no_text_is_an_error():
    with pytest.raises(ValueError, match="No character"):
        build_character_tokenizer([], max_length=8)
