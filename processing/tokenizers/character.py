"""A tokenizer of characters for small models that are trained from nothing.

BERT's pre-tokenizer isolates Han characters and punctuation, so these need one token each. Kana, Hangul, Latin letters
and digits stay together as words: a character needs a first form `x` and a continuing form `##x`.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from transformers import BertTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_character_tokenizer(texts: Iterable[str], *, max_length: int, min_count: int = 1) -> BertTokenizer:
    """Return a lower-casing WordPiece tokenizer whose pieces are single characters.

    With `min_count=1` no text among `texts` has an [UNK], unless it holds a run of more than 100 characters without a
    space, punctuation or Han character, which every BERT tokenizer gives up on. Accents stay: stripping them, BERT's
    default together with lower case, turns が into か and takes Hangul syllables apart.

    Args:
        texts: the training texts, and only these, lest the vocabulary leak from the test.
        max_length: `model_max_length` of the tokenizer, in tokens.
        min_count: characters that occur less often are left out and become [UNK].

    Raises:
        ValueError: no character is left.
    """
    build = partial(BertTokenizer, do_lower_case=True, strip_accents=False, model_max_length=max_length)
    pipeline = build().backend_tokenizer

    def words(text: str) -> list[str]:
        return [word for word, _ in pipeline.pre_tokenizer.pre_tokenize_str(pipeline.normalizer.normalize_str(text))]

    counts = Counter(character for text in texts for word in words(text) for character in word)
    characters = sorted(character for character, count in counts.items() if count >= min_count)
    if not characters:
        raise ValueError(f"No character occurs {min_count} times or more in the texts; give texts, or lower min_count.")
    continuing = [f"##{character}" for character in characters if len(words(f"a{character}a")) == 1]
    tokens = [*SPECIAL_TOKENS, *characters, *continuing]
    return build(vocab={token: index for index, token in enumerate(tokens)})


__all__ = ["SPECIAL_TOKENS", "build_character_tokenizer"]
