"""Questions about a scene, with the only right answer, in English and Japanese: eight kinds, about six a scene."""

import random
from collections import Counter
from dataclasses import dataclass
from itertools import permutations

from ..rows.types import Scene, SceneObject
from .vocabulary import CLASS_NAMES, COLOUR_NAMES, SCENE_CLASSES

QUESTION_LANGUAGES = ("en", "ja")
# kind -> answer type, as VQA v2 has them
QUESTION_KINDS = {
    "exist": "yes/no",
    "count": "number",
    "size": "other",
    "relation": "yes/no",
    "what-rel": "other",
    "what-size": "other",
    "colour": "other",
    "count-all": "number",
}
# "count": answer -> weight. The rarer a number of equal objects is, the more often it is asked for.
COUNT_WEIGHTS = {0: 0.35, 1: 0.45, 2: 2.3, 3: 3.2, 4: 6.0}
WHAT_SIZE = 0.5  # probability that the question is asked where it can be
COUNT_ALL = 0.4
CLEARANCE = 20  # pixels by which one centre must lie left of another to be called left of it

# {x} and {y} are names; in English with the article where the template says {a}.
TEMPLATES = {
    "en": {
        "exist": "Is there {a} {x} in the picture?",
        "count": "How many pictures of {a} {x} are there?",
        "size": "Is the {x} big or small?",
        "relation left": "Is the {x} to the left of the {y}?",
        "relation right": "Is the {x} to the right of the {y}?",
        "what-rel left": "What is to the left of the {x}?",
        "what-rel right": "What is to the right of the {x}?",
        "what-rel above": "What is above the {x}?",
        "what-rel below": "What is below the {x}?",
        "what-size big": "Which thing is big?",
        "what-size small": "Which thing is small?",
        "colour": "What color is the background?",
        "count-all": "How many things are in the picture?",
    },
    "ja": {
        "exist": "{x}はありますか？",
        "count": "{x}の絵はいくつありますか？",
        "size": "{x}の絵は大きいですか、小さいですか？",
        "relation left": "{x}は{y}より左にありますか？",
        "relation right": "{x}は{y}より右にありますか？",
        "what-rel left": "{x}の左にあるものは何ですか？",
        "what-rel right": "{x}の右にあるものは何ですか？",
        "what-rel above": "{x}の上にあるものは何ですか？",
        "what-rel below": "{x}の下にあるものは何ですか？",
        "what-size big": "大きいものは何ですか？",
        "what-size small": "小さいものは何ですか？",
        "colour": "背景は何色ですか？",
        "count-all": "絵の中にものはいくつありますか？",
    },
}
YES_NO_SIZES = {"en": ("yes", "no", "big", "small"), "ja": ("はい", "いいえ", "大きい", "小さい")}
NUMBERS = tuple(map(str, range(7)))
# direction -> axis of the centre, and the sign of what lies that way
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}


def answer_vocabulary(language: str) -> tuple[str, ...]:
    """Return the 149 answers there are; an answer has the same place in both languages.

    Raises:
        ValueError: the language is not in `QUESTION_LANGUAGES`.
    """
    if language not in QUESTION_LANGUAGES:
        raise ValueError(f"There are no questions in {language!r}, only in {' and '.join(QUESTION_LANGUAGES)}.")
    return YES_NO_SIZES[language] + NUMBERS + COLOUR_NAMES[language] + CLASS_NAMES[language]


ANSWERS = answer_vocabulary("en")


@dataclass(frozen=True)
class SceneQuestion:
    """A question in no language yet.

    Attributes:
        template: a key of `TEMPLATES`; its first word is the kind.
        category_ids: the classes that it names.
        answer_id: the place of the answer in `answer_vocabulary`.
    """

    template: str
    category_ids: tuple[int, ...]
    answer_id: int

    @property
    def kind(self) -> str:
        """One of `QUESTION_KINDS`."""
        return self.template.split()[0]

    def text(self, language: str) -> str:
        """Return the question in one of `QUESTION_LANGUAGES`."""
        names = [CLASS_NAMES[language][one] for one in self.category_ids]
        words = dict(zip("xy", names, strict=False)) | {"a": _article(names[0]) if names else ""}
        return TEMPLATES[language][self.template].format(**words)

    def answer(self, language: str) -> str:
        """Return the answer in one of `QUESTION_LANGUAGES`."""
        return answer_vocabulary(language)[self.answer_id]


def ask_questions(scene: Scene, rng: random.Random, *, num_classes: int = len(SCENE_CLASSES)) -> list[SceneQuestion]:
    """Return the questions of a scene (a row of EmojiScenes), at most one of each kind, ordered as `QUESTION_KINDS`.

    Directions and sides are those of the image, and nothing is asked about what an object faces.

    Args:
        num_classes: absent things that are asked for come from the first so many classes.
    """
    objects = scene["objects"]
    counts = Counter(one["category_id"] for one in objects)
    absent = [i for i in range(num_classes) if i not in counts]
    single = [one for one in objects if counts[one["category_id"]] == 1]
    questions = [
        _exist(counts, absent, rng),
        _count(counts, absent, rng),
        _size(single, rng),
        _relation(single, rng),
        _what_relation(objects, single, rng),
        _what_size(objects, rng),
        _question("colour", scene["background"]),
        _question("count-all", str(len(objects))) if rng.random() < COUNT_ALL else None,
    ]
    return [question for question in questions if question is not None]


def _question(template: str, answer: str, *category_ids: int) -> SceneQuestion:
    return SceneQuestion(template, category_ids, ANSWERS.index(answer))


def _absent_like_present(counts: Counter[int], absent: list[int], rng: random.Random) -> int:
    """Return a class of the group of one that is there, so that "no" does not follow from the kind of scene."""
    group = SCENE_CLASSES[rng.choice(sorted(counts))].group
    return rng.choice([i for i in absent if SCENE_CLASSES[i].group == group] or absent)


def _exist(counts: Counter[int], absent: list[int], rng: random.Random) -> SceneQuestion:
    if rng.random() < 0.5 or not absent:
        return _question("exist", "yes", rng.choice(sorted(counts)))
    return _question("exist", "no", _absent_like_present(counts, absent, rng))


def _count(counts: Counter[int], absent: list[int], rng: random.Random) -> SceneQuestion:
    possible = sorted({number for number in counts.values() if number in COUNT_WEIGHTS} | ({0} if absent else set()))
    number = rng.choices(possible, [COUNT_WEIGHTS[number] for number in possible])[0]
    if number == 0:
        return _question("count", "0", _absent_like_present(counts, absent, rng))
    return _question("count", str(number), rng.choice(sorted(i for i in counts if counts[i] == number)))


def _size(single: list[SceneObject], rng: random.Random) -> SceneQuestion | None:
    if not single:
        return None
    drawn = rng.choice(single)
    return _question("size", drawn["size"], drawn["category_id"])


def _relation(single: list[SceneObject], rng: random.Random) -> SceneQuestion | None:
    pairs = [pair for pair in permutations(single, 2) if abs(_centre(pair[0], 0) - _centre(pair[1], 0)) > CLEARANCE]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    direction = rng.choice(["left", "right"])
    is_so = (_centre(one, 0) < _centre(other, 0)) == (direction == "left")
    return _question(f"relation {direction}", "yes" if is_so else "no", one["category_id"], other["category_id"])


def _what_relation(objects: list[SceneObject], single: list[SceneObject], rng: random.Random) -> SceneQuestion | None:
    possible = []
    for one in single:
        others = [other for other in objects if other is not one]
        for direction, (axis, sign) in DIRECTIONS.items():
            ahead = [(sign * (_centre(other, axis) - _centre(one, axis)), other["category_id"]) for other in others]
            there = {category_id for distance, category_id in ahead if distance > CLEARANCE}
            if len(there) == 1 and all(abs(distance) > CLEARANCE for distance, _ in ahead):
                possible.append((f"what-rel {direction}", CLASS_NAMES["en"][there.pop()], one["category_id"]))
    return _question(*rng.choice(possible)) if possible else None


def _what_size(objects: list[SceneObject], rng: random.Random) -> SceneQuestion | None:
    classes = {size: {one["category_id"] for one in objects if one["size"] == size} for size in ("big", "small")}
    possible = [size for size, category_ids in classes.items() if len(category_ids) == 1]
    if not possible or rng.random() >= WHAT_SIZE:
        return None
    size = rng.choice(possible)
    return _question(f"what-size {size}", CLASS_NAMES["en"][classes[size].pop()])


def _centre(one: SceneObject, axis: int) -> float:
    return (one["bbox"][axis] + one["bbox"][axis + 2]) / 2


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" and not name.startswith("uni") else "a"


__all__ = ["QUESTION_KINDS", "QUESTION_LANGUAGES", "SceneQuestion", "answer_vocabulary", "ask_questions"]
