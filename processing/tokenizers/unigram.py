"""An XLM-R style tokenizer for small models: word pieces of a Unigram model, trained on the texts at hand.

The ids are laid out as XLM-R's: <s> 0, <pad> 1, </s> 2, <unk> 3, the pieces, and <mask> last.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"
WORD_START = "▁"
SMALL_TOKENIZER = Path(__file__).parent / "mlmm_tokenizer"
LOWEST_SCORE = -20.0  # where there are characters only
WORDS = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
WORD_SCORE = -7.0  # of the words that are never cut: as if every thousandth piece were this one


def build_unigram_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int = 6000,
    alphabet: Iterable[str] = (),
    whole_words: Iterable[str] = (),
    max_length: int = 512,
) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose pieces were learnt from texts; the same texts in the same order give the same one.

    Texts are normalised as XLM-R's are, to NFKC: full-width letters and half-width kana become the usual ones.

    Args:
        texts: the training texts.
        vocab_size: tokens in all, special ones included.
        alphabet: characters that must not become <unk>, beside those of the texts.
        whole_words: pieces that there must be, however rare; "▁cat" begins a word. "猫", of a language without spaces,
            is the same piece wherever it stands: there is no "▁猫".
        max_length: `model_max_length`.

    Raises:
        ValueError: there is no text, or the vocabulary has no room for its characters and the whole words.
    """
    normalizer = normalizers.NFKC()
    texts = [normalized for text in texts if (normalized := normalizer.normalize_str(text).strip())]
    if not texts:
        raise ValueError("There is no text to learn word pieces from.")
    characters = {normalizer.normalize_str(character) for character in alphabet}
    words = {normalizer.normalize_str(word) for word in whole_words}
    needed = {character for text in (*texts, *characters, *words) for character in text if not character.isspace()}
    needed.discard(WORD_START)
    kept = {*words, *needed, WORD_START}
    fewest = len(SPECIAL_TOKENS) + len(kept) + 1  # <mask>
    if vocab_size < fewest:
        raise ValueError(
            f"vocab_size={vocab_size} has no room for the {len(needed)} characters of the texts and "
            f"{len(words)} whole words; give {fewest} or more."
        )
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = WORDS
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="<unk>",
        initial_alphabet=sorted(needed),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pieces = _trained_pieces(tokenizer, words, kept)[: vocab_size - len(SPECIAL_TOKENS) - 1]
    vocab = [*((token, 0.0) for token in SPECIAL_TOKENS), *_best_first(pieces), (MASK_TOKEN, 0.0)]
    return xlm_r_tokenizer(vocab, normalizer, max_length=max_length)


def xlm_r_tokenizer(
    vocab: list[tuple[str, float]], normalizer: normalizers.Normalizer, *, max_length: int = 512
) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a Unigram vocabulary, which marks word starts and puts <s> and </s> around as XLM-R does.

    Args:
        vocab: pieces and their scores (log probabilities), in the order of the ids; XLM-R's special tokens among them.
        normalizer: of a text, before it is split at spaces.
        max_length: `model_max_length`.
    """
    ids = {piece: number for number, (piece, _) in enumerate(vocab)}
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=ids["<unk>"]))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = WORDS
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, ids[token]) for token in ("<s>", "</s>")],
    )
    # Not an XLMRobertaTokenizer: that one drops the normaliser when it is loaded, unless it is sentencepiece's own.
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=MASK_TOKEN,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def load_small_tokenizer(max_length: int = 512) -> PreTrainedTokenizerFast:
    """Return the tokenizer that travels with the package: 8000 tokens, learnt from emoji7's names and keywords and
    from captions and questions of EmojiScenes, in seven languages.

    For models as small as these data. A model of real size starts from XLM-R, with XLM-R's own tokenizer.

    >>> load_small_tokenizer().tokenize("a red key")
    ['▁a', '▁red', '▁key']
    """
    return PreTrainedTokenizerFast.from_pretrained(SMALL_TOKENIZER, model_max_length=max_length)


def _trained_pieces(tokenizer: Tokenizer, words: set[str], kept: set[str]) -> list[tuple[str, float]]:
    """Return the pieces of a trained model and the whole words: first what must be kept, then the best.

    The order is the same from run to run; the trainer's sums, ties and scores of rare characters are not.
    """
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    unwanted = {*SPECIAL_TOKENS, *(WORD_START + word for word in words)}
    learnt = {piece: score for piece, score in scores.items() if piece not in unwanted}
    lowest = min((score for piece, score in learnt.items() if len(piece) > 1), default=LOWEST_SCORE)
    rounded = {piece: round(max(score, lowest), 3) for piece, score in learnt.items()}
    rounded |= {word: max(WORD_SCORE, rounded.get(word, WORD_SCORE)) for word in words}
    return sorted(_best_first(rounded.items()), key=lambda pair: pair[0] not in kept)


def _best_first(pieces: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(pieces, key=lambda pair: (-pair[1], pair[0]))


__all__ = ["MASK_TOKEN", "SPECIAL_TOKENS", "build_unigram_tokenizer", "load_small_tokenizer", "xlm_r_tokenizer"]
