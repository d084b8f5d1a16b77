"""EmojiScenes: scenes per CPU second, bytes a scene on disk, and how far answers can be guessed without the image.

    python benchmarks/emoji_scenes.py
    python benchmarks/emoji_scenes.py --scenes 200 --training 200 --validation 50

"type": the most common answer of the kind of question in the training split; "words": that of exactly this question, or
of its kind if it never occurred. A model that answers questions has to beat both.
"""

import argparse
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from wenlan.data import ask_questions, generate_scene, generate_scenes, load_emoji_scenes, text_seed, write_emoji_scenes
from wenlan.data.emoji_scenes.export import IMAGE_FORMATS
from wenlan.data.emoji_scenes.questions import QUESTION_KINDS

Asked = tuple[str, str, str]  # kind, question, answer


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def ask(split: str, size: int) -> list[Asked]:
    return [
        (question.kind, question.text("en"), question.answer("en"))
        for index, scene in enumerate(generate_scenes(split, size))
        for question in ask_questions(scene, random.Random(text_seed(split, index)))
    ]


def guess(training: list[Asked], validation: list[Asked]) -> dict[str, tuple[float, float, int]]:
    """Return, for "all" and each kind, fractions of right guesses by type and by words, and the number of questions."""
    by_kind, by_words = defaultdict(Counter), defaultdict(Counter)
    for kind, question, answer in training:
        by_kind[kind][answer] += 1
        by_words[question][answer] += 1
    right = defaultdict(lambda: [0, 0, 0])
    for kind, question, answer in validation:
        of_kind = by_kind[kind].most_common(1)[0][0]
        of_words = by_words[question].most_common(1)[0][0] if question in by_words else of_kind
        for key in ("all", kind):
            right[key][0] += of_kind == answer
            right[key][1] += of_words == answer
            right[key][2] += 1
    return {key: (of_kind / n, of_words / n, n) for key, (of_kind, of_words, n) in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--training", type=int, default=2000)
    parser.add_argument("--validation", type=int, default=500)
    args = parser.parse_args()
    for seed in range(400):  # most drawings are decoded now
        generate_scene(seed)
    drawn = rate(args.scenes, lambda: [generate_scene(10**6 + seed) for seed in range(args.scenes)])
    print(f"generate_scene: {drawn:.0f} scenes per CPU s")
    with tempfile.TemporaryDirectory() as folder:
        stored = rate(args.scenes, lambda: load_emoji_scenes("detect", args.scenes, cache_dir=folder))
        print(f"load_emoji_scenes, first call: {stored:.0f} scenes per CPU s")
        for suffix in IMAGE_FORMATS:
            output = Path(folder, suffix)
            written = rate(
                args.scenes,
                lambda: write_emoji_scenes(output, "detect", args.scenes, image_format=suffix),  # noqa: B023
            )
            size = sum(file.stat().st_size for file in output.glob("detect/images/*")) / args.scenes
            print(f"write_emoji_scenes, {suffix}: {written:.0f} scenes per CPU s, {size / 1000:.1f} kB an image")
    training, validation = ask("finetune", args.training), ask("validation", args.validation)
    print(f"questions: {len(training)} for training, {len(validation)} for validation")
    fractions = guess(training, validation)
    for key in ["all", *QUESTION_KINDS]:
        of_kind, of_words, number = fractions[key]
        print(f"  {key:9s} right by type {of_kind:5.1%}, by words {of_words:5.1%} of {number}")


if __name__ == "__main__":
    main()
