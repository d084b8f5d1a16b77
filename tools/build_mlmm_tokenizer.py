"""Rebuilds the tokenizer of small MLMM models from the embedded texts. Half a minute; the same file every time.

    python tools/build_mlmm_tokenizer.py
    python tools/build_mlmm_tokenizer.py --output my_tokenizer --vocab_size 6000

Users never run this: the built tokenizer travels with the package.
"""

import argparse
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

from wenlan.data.emoji7.dataset import load_emoji7
from wenlan.data.emoji7.dataset import training_texts as emoji7_texts
from wenlan.data.emoji_scenes.dataset import generate_scene, scene_seed, text_seed
from wenlan.data.emoji_scenes.questions import QUESTION_LANGUAGES, ask_questions
from wenlan.data.emoji_scenes.vocabulary import CLASS_NAMES, COLOUR_NAMES
from wenlan.data.files.atomic import atomic_files
from wenlan.data.rows.languages import LANGUAGES, SPACELESS
from wenlan.processing.tokenizers.unigram import SMALL_TOKENIZER, WORD_START, build_unigram_tokenizer

VOCAB_SIZE = 8000
SCENES = 300  # every template occurs
REPETITIONS = 10  # of the names that captions are made of
KANA = [chr(code) for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC)]
LATIN = [chr(code) for code in (*range(0xC0, 0x180), 0xD7) if chr(code).isalpha() or code == 0xD7]
PUNCTUATION = "、。「」『』・〜“”„‘’«»–—…€"


def main() -> None:
    """Build the tokenizer and print its size."""
    parser = argparse.ArgumentParser(description="Rebuild the tokenizer of small MLMM models.")
    parser.add_argument("--output", type=Path, default=SMALL_TOKENIZER, help="folder to write to")
    parser.add_argument("--vocab_size", type=int, default=VOCAB_SIZE)
    args = parser.parse_args()
    tokenizer = build_unigram_tokenizer(
        list(read_texts()), vocab_size=args.vocab_size, alphabet=read_alphabet(), whole_words=read_whole_words()
    )
    with atomic_files(args.output) as folder:
        tokenizer.save_pretrained(folder)
    size = (args.output / "tokenizer.json").stat().st_size
    print(f"{args.output}: {len(tokenizer)} tokens, {size} bytes")


def read_texts() -> Iterator[str]:
    """Yield the words of the small data: names and keywords of emoji7's seen concepts, and what EmojiScenes adds.

    Captions and questions are cut where a thing or a colour is named. Whole, they would teach the tokenizer pieces such
    as "owl and trumpet", and MLM would have no words to hide.
    """
    for language in LANGUAGES:
        yield from emoji7_texts(language)
        yield from [*CLASS_NAMES[language], *COLOUR_NAMES[language]] * REPETITIONS
    for index in range(SCENES):
        scene = generate_scene(scene_seed("pretrain", index), text_seed=text_seed("pretrain", index))
        for language in LANGUAGES:
            for caption in scene["captions"][language]:
                yield from cut_at_names(caption, language)
        for question in ask_questions(scene, random.Random(text_seed("pretrain", index))):
            for language in QUESTION_LANGUAGES:
                yield from cut_at_names(question.text(language), language)


def read_whole_words() -> list[str]:
    """Return the words of things and colours, each of which becomes one piece.

    In pieces, a hidden part of a name would be told by the rest of it, and MLM would have no need of the image.
    """
    words = []
    for language in LANGUAGES:
        parts = [part for name in (*CLASS_NAMES[language], *COLOUR_NAMES[language]) for part in name.split()]
        words += parts if language in SPACELESS else [WORD_START + part for part in parts]
    return words


def cut_at_names(text: str, language: str) -> list[str]:
    """Return what stands between the names of things and colours in a text."""
    names = sorted([*CLASS_NAMES[language], *COLOUR_NAMES[language]], key=len, reverse=True)
    return [part.strip() for part in re.split("|".join(map(re.escape, names)), text) if part.strip()]


def read_alphabet() -> set[str]:
    """Return the characters that small models should be able to read: those of emoji7, Latin letters, kana."""
    names = [
        text
        for split in ("test", "test_held")
        for row in load_emoji7()[split].remove_columns("image")
        for language in LANGUAGES
        for text in (row[f"name_{language}"], *row[f"keywords_{language}"])
    ]
    return {*"".join(names), *string.printable.strip(), *LATIN, *KANA, *PUNCTUATION}


__all__ = ["main", "read_alphabet", "read_texts", "read_whole_words"]

if __name__ == "__main__":
    main()
