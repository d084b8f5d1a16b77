"""Tiny translation models of every family, built here, each of which has learnt a few captions by heart."""

import json
import random
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import torch.nn.functional as F
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    NllbTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "max_position_embeddings": 64,
}
LEARNT = {
    "a red apple": {"de": "ein roter Apfel", "ja": "赤いりんご"},
    "two cats": {"de": "zwei Katzen", "ja": "二匹のねこ"},
    "the moon and a tree": {"de": "der Mond und ein Baum", "ja": "月とひとつの木"},
    "an open book": {"de": "ein offenes Buch", "ja": "ひらいた本"},
    "big green frog": {"de": "großer grüner Frosch", "ja": "大きな緑のかえる"},
    "a ship": {"de": "ein Schiff", "ja": "ふねが一隻"},
}
MAX_STEPS = 1500
WORDS = {"red": "rot", "cat": "Katze", "moon": "Mond", "tree": "Baum", "book": "Buch", "frog": "Frosch", "sea": "Meer"}
TEXTS = [text for english, others in LEARNT.items() for text in (english, *others.values())]


def english_captions(count: int) -> list[str]:
    """Different captions of one to six of the words of `WORDS`, in a fixed order."""
    draw = random.Random(0)
    captions = [" ".join(draw.choices(list(WORDS), k=draw.randint(1, 6))) for _ in range(2 * count)]
    return list(dict.fromkeys(captions))[:count]


def save_nllb(folder: Path) -> str:
    """One model for both languages, whose codes are such as deu_Latn."""
    tokenizer = NllbTokenizer().train_new_from_iterator(TEXTS, vocab_size=500)
    tokenizer.src_lang = "eng_Latn"
    codes = {"de": "deu_Latn", "ja": "jpn_Jpan"}
    _learn(folder, _m2m100(len(tokenizer)), tokenizer, {name: ("", code) for name, code in codes.items()})
    return str(folder)


def save_nllb_of_words(folder: Path) -> str:
    """One that translates 60 of `english_captions` word by word into German, and others somehow."""
    captions = {text: {"de": " ".join(WORDS[word] for word in text.split())} for text in english_captions(60)}
    tokenizer = NllbTokenizer().train_new_from_iterator([*WORDS, *WORDS.values()], vocab_size=500)
    tokenizer.src_lang = "eng_Latn"
    _learn(folder, _m2m100(len(tokenizer)), tokenizer, {"de": ("", "deu_Latn")}, captions)
    return str(folder)


def save_m2m100(folder: Path) -> str:
    """The same with codes such as de, which are tokens such as __de__."""
    pieces = _train_sentencepiece(folder)
    vocabulary = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "spm.model"), src_lang="en")
    model = _m2m100(len(vocabulary) + 108)  # 100 languages, 8 spare ones
    _learn(folder, model, tokenizer, {language: ("", f"__{language}__") for language in ("de", "ja")})
    return str(folder)


def save_mbart(folder: Path) -> str:
    """The same with codes such as de_DE."""
    tokenizer = MBart50Tokenizer().train_new_from_iterator(TEXTS, vocab_size=500)
    tokenizer.src_lang = "en_XX"
    torch.manual_seed(0)
    model = MBartForConditionalGeneration(MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=2, **SIZES))
    _learn(folder, model, tokenizer, {"de": ("", "de_DE"), "ja": ("", "ja_XX")})
    return str(folder)


def save_marian(folder: Path, language: str) -> str:
    """One language only."""
    _learn(folder, *_marian(folder, []), {language: ("", None)})
    return str(folder)


def save_marian_of_many(folder: Path) -> str:
    """Both languages, each by a token before the caption."""
    prefixes = {"de": (">>deu<< ", None), "ja": (">>jpn<< ", None)}
    _learn(folder, *_marian(folder, [">>deu<<", ">>jpn<<"]), prefixes)
    return str(folder)


def save_t5(folder: Path) -> str:
    """Both languages, each by words before the caption."""
    prefixes = {"de": ("to de: ", None), "ja": ("to ja: ", None)}
    # Not `train_new_from_iterator`: from run to run it finds other pieces, some of which cannot be learnt.
    pieces = _train_sentencepiece(folder, [*TEXTS, "to de: ", "to ja: "])
    tokenizer = T5Tokenizer([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces.items()], extra_ids=0)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        **_special_tokens(tokenizer.pad_token_id, tokenizer.eos_token_id),
    )
    _learn(folder, T5ForConditionalGeneration(config), tokenizer, prefixes)
    return str(folder)


def _m2m100(vocab_size):
    torch.manual_seed(0)
    return M2M100ForConditionalGeneration(M2M100Config(vocab_size=vocab_size, decoder_start_token_id=2, **SIZES))


def _special_tokens(pad: int, end: int) -> dict[str, Any]:
    return {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": end}


def _marian(folder: Path, codes: list[str]) -> tuple[MarianMTModel, MarianTokenizer]:
    pieces = _train_sentencepiece(folder)
    vocabulary = {token: index for index, token in enumerate(["</s>", "<unk>", *pieces, *codes, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    model_file = str(folder / "spm.model")
    tokenizer = MarianTokenizer(model_file, model_file, str(folder / "vocab.json"))
    pad = vocabulary["<pad>"]
    torch.manual_seed(0)
    special = _special_tokens(pad, 0) | {"forced_eos_token_id": 0}
    return MarianMTModel(MarianConfig(vocab_size=len(vocabulary), **special, **SIZES)), tokenizer


def _train_sentencepiece(folder, texts=TEXTS):
    """Writes `spm.model`, the same from the same texts, and returns its pieces with their scores."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "spm"),
        vocab_size=200,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    return {processor.id_to_piece(index): processor.get_score(index) for index in range(3, len(processor))}


def _learn(folder, model, tokenizer, languages, captions=LEARNT):
    """Trains a model until it is sure of every token, and saves it.

    `languages` gives the caption's prefix and the translation's token.
    """
    sources, labels = [], []
    for english, translations in captions.items():
        for language, (prefix, token) in languages.items():
            sources.append(prefix + english)
            ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(translations[language]))
            first = [tokenizer.convert_tokens_to_ids(token)] if token else []
            labels.append(torch.tensor([*first, *ids, tokenizer.eos_token_id]))
    inputs = tokenizer(sources, padding=True, return_tensors="pt")
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    forced = any(token for _, token in languages.values())  # the language's token, which nothing in the caption tells
    for _ in range(MAX_STEPS):
        output = model(**inputs, labels=padded)
        losses = F.cross_entropy(output.logits[:, forced:].transpose(1, 2), padded[:, forced:], reduction="none")
        if losses.max() < 0.05:
            break
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    else:
        raise AssertionError(f"The model is not sure of every token after {MAX_STEPS} steps.")
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


__all__ = [
    "LEARNT",
    "WORDS",
    "english_captions",
    "save_m2m100",
    "save_marian",
    "save_marian_of_many",
    "save_mbart",
    "save_nllb",
    "save_nllb_of_words",
    "save_t5",
]
