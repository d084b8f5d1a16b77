import json
import random
import unicodedata

import pytest
from transformers import AutoTokenizer
from wenlan.data import (
    CLASS_NAMES,
    COLOUR_NAMES,
    LANGUAGES,
    ask_questions,
    generate_scene,
    load_emoji7,
    scene_seed,
    text_seed,
    training_texts,
)
from wenlan.processing import build_unigram_tokenizer

TEXTS = ["a red apple and a green apple", "zwei rote Äpfel", "红苹果和绿苹果。", "赤いりんご", "빨간 사과"] * 20


def normalized(text):
    return " ".join(unicodedata.normalize("NFKC", text).split())


def scene_texts(language):
    """Captions and questions of scenes that the tokenizer was not trained on."""
    for index in range(20):
        scene = generate_scene(scene_seed("finetune", index), text_seed=text_seed("finetune", index))
        yield from scene["captions"][language]
        if language in ("en", "ja"):
            yield from (q.text(language) for q in ask_questions(scene, random.Random(index)))


def unreadable(tokenizer, texts):
    """Texts with an <unk>, or that do not come back."""
    texts = list(dict.fromkeys(texts))
    assert len(texts) > 20
    ids = tokenizer(texts)["input_ids"]
    back = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [
        text
        for text, one, decoded in zip(texts, ids, back, strict=True)
        if tokenizer.unk_token_id in one or decoded != normalized(text)
    ]


@pytest.fixture(scope="module")
def built():
    return build_unigram_tokenizer(TEXTS, vocab_size=100)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_and_questions_of_emoji_scenes_come_back(small_tokenizer, language):
    assert unreadable(small_tokenizer, scene_texts(language)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_and_keywords_of_emoji7_come_back(small_tokenizer, language):
    assert unreadable(small_tokenizer, training_texts(language)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_held_concepts_come_back(small_tokenizer, language):
    assert unreadable(small_tokenizer, load_emoji7()["test_held"][f"name_{language}"]) == []


def test_ids_of_the_shipped_tokenizer_are_laid_out_as_those_of_xlm_r(small_tokenizer):
    assert small_tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<s>", "<pad>", "</s>", "<unk>"]
    assert small_tokenizer.mask_token_id == len(small_tokenizer) - 1 == 7999


def test_texts_are_framed_as_those_of_xlm_r(small_tokenizer):
    (one,) = small_tokenizer(["cat"], ["dog"])["input_ids"]
    tokens = small_tokenizer.convert_ids_to_tokens(one)
    assert [token for token in tokens if token.startswith("<")] == ["<s>", "</s>", "</s>", "</s>"]


def test_model_gets_no_token_types(small_tokenizer):
    assert set(small_tokenizer("cat")) == {"input_ids", "attention_mask"}


def test_full_width_and_half_width_forms_are_the_usual_ones(small_tokenizer):
    assert small_tokenizer.tokenize("Ｃat ×２ ｶﾞﾗｽ") == small_tokenizer.tokenize("Cat ×2 ガラス")


def test_no_piece_of_the_shipped_tokenizer_joins_two_things(small_tokenizer):
    """Else MLM could not hide a thing alone."""
    joined = [piece for piece in small_tokenizer.get_vocab() if len(piece) > 1 and "、" in piece]
    assert joined == []


def test_saved_and_loaded_gives_the_same_pieces(small_tokenizer, tmp_path):
    small_tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Ｆull-width，图中有赛车。<mask> 경주용"
    assert loaded(text)["input_ids"] == small_tokenizer(text)["input_ids"]
    assert loaded.mask_token_id in loaded(text)["input_ids"]


def test_shipped_file_is_small(small_tokenizer, tmp_path):
    small_tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_size < 1_000_000


def test_same_texts_build_the_same_tokenizer(built):
    again = build_unigram_tokenizer(TEXTS, vocab_size=100)
    assert json.loads(again.backend_tokenizer.to_str()) == json.loads(built.backend_tokenizer.to_str())


def test_built_tokenizer_reads_its_texts_and_the_alphabet():
    tokenizer = build_unigram_tokenizer(TEXTS, vocab_size=100, alphabet="QXñ")
    assert tokenizer.unk_token_id not in tokenizer([*TEXTS, "QXñ"])["input_ids"][-1]
    assert tokenizer("Q!")["input_ids"].count(tokenizer.unk_token_id) == 1


def test_vocabulary_without_room_for_the_characters_names_the_size_needed():
    with pytest.raises(ValueError, match="give 8 or more"):
        build_unigram_tokenizer(["ab"], vocab_size=7)
    assert len(build_unigram_tokenizer(["ab"], vocab_size=8)) == 8


def test_whole_words_are_one_piece_however_rare():
    tokenizer = build_unigram_tokenizer([*TEXTS, "猫"], vocab_size=100, whole_words=["▁zebra", "猫"])
    assert tokenizer.tokenize("zebra 猫") == ["▁zebra", "▁", "猫"]
    assert tokenizer.tokenize("zebra猫") == ["▁zebra", "猫"]
    assert len(build_unigram_tokenizer(TEXTS, vocab_size=100).tokenize("zebra")) > 1


def test_vocabulary_without_room_for_the_whole_words_names_the_size_needed():
    with pytest.raises(ValueError, match="2 whole words; give 10 or more"):
        build_unigram_tokenizer(["ab"], vocab_size=9, whole_words=["▁abba", "bab"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_things_and_colours_are_cut_at_their_spaces_only(small_tokenizer, language):
    names = [normalized(name) for name in (*CLASS_NAMES[language], *COLOUR_NAMES[language])]
    pieces = {name: [piece for piece in small_tokenizer.tokenize(name) if piece != "▁"] for name in names}
    assert {name: cut for name, cut in pieces.items() if len(cut) != len(name.split())} == {}


@pytest.mark.parametrize("text", ["ロケットの絵", "絵はロケット", "ロケット"])
def test_names_of_languages_without_spaces_are_the_same_piece_everywhere(small_tokenizer, text):
    assert "ロケット" in small_tokenizer.tokenize(text)


def test_no_text_is_an_error():
    with pytest.raises(ValueError, match="no text"):
        build_unigram_tokenizer(["", "  "], vocab_size=100)
