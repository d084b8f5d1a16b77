import pytest
from transformers import MBart50Tokenizer, MBartTokenizer, NllbTokenizer, T5Tokenizer
from wenlan.data.rows.scripts import SCRIPTS
from wenlan.data.translation.language_codes import CODES, Direction, fill_template, find_direction

TEXTS = ["a red apple"]


@pytest.mark.parametrize("language", sorted(set(SCRIPTS) - {"en"}))
@pytest.mark.parametrize("tokenizer_class", [NllbTokenizer, MBart50Tokenizer, MBartTokenizer])
def test_codes_of_all_seven_languages_are_found(tokenizer_class, language):
    tokenizer = tokenizer_class().train_new_from_iterator(TEXTS, vocab_size=300)
    direction = find_direction(tokenizer, "en", language)
    assert direction.is_named
    assert direction.source_code in CODES["en"]
    assert tokenizer.convert_ids_to_tokens(direction.forced_bos_token_id) in CODES[language]


def test_code_of_the_user_comes_first():
    tokenizer = NllbTokenizer().train_new_from_iterator(TEXTS, vocab_size=300)
    direction = find_direction(tokenizer, "en", "zh", codes={"zh": "zho_Hant"})
    assert tokenizer.convert_ids_to_tokens(direction.forced_bos_token_id) == "zho_Hant"
    with pytest.raises(ValueError, match=r"no code zho_Hunt for 'zh'; give .*--code zh=CODE.*ace_Arab"):
        find_direction(tokenizer, "en", "zh", codes={"zh": "zho_Hunt"})


def test_prefix_names_the_languages():
    tokenizer = T5Tokenizer()
    assert find_direction(tokenizer, "en", "de", prefix="<2{target}> ") == Direction(prefix="<2de> ", is_named=True)
    found = find_direction(tokenizer, "en", "de", prefix="{source} to {target}: ", codes={"de": "German"})
    assert found.prefix == "en to German: "


def test_model_without_codes_has_one_direction():
    assert find_direction(T5Tokenizer(), "en", "de") == Direction()
    assert not find_direction(T5Tokenizer(), "en", "de", prefix="translate: ").is_named


def test_braces_of_another_kind_stay_in_a_template():
    assert fill_template("a{0}/{source}-{target}/{x}", "en", "ja", {"ja": "jap"}) == "a{0}/en-jap/{x}"
