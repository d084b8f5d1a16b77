"""Score of an answer to a question about an image, as VQA 2.0 counts it, and its normalisation of answers.

The rules, oddities included, are those of the official evaluator (GT-Vision-Lab/VQA), a Python 2 program.
"""

import operator
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import reduce

# Of these, those that stand beside a space somewhere are dropped, the others become a space.
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
DIGIT_COMMA = re.compile(r"[0-9],[0-9]")
# The official pattern was meant to keep the period after a digit too, but mistypes its look-behind.
PERIOD = re.compile(r"\.(?![0-9])")
MAX_PERIODS = 32  # re.UNICODE, which the official call passes where the count belongs
ARTICLES = {"a", "an", "the"}
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
# A word that lacks one apostrophe of one of these gets it back.
APOSTROPHES = """
    ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't
    shan't shouldn't wasn't weren't won't wouldn't couldn't've hadn't've mightn't've shouldn't've wouldn't've
    he'd he's how'd how'll how's it'd it'll somebody'll somebody's someone'd someone'll someone's something'd
    something'll that's there'd there're there's they'd they'll they're they've what'll what're what's what've when's
    where'd where's where've who'd who'll who's who've why'll why're why's y'all you'd you'll you're you've
    could've might've must've not've should've we've would've
    he'd've it'd've she'd've somebody'd've someone'd've something'd've there'd've they'd've we'd've who'd've you'd've
    y'all'll y'all'd've ma'am o'clock 'twas 'ow's'at
"""
CONTRACTIONS = {"somebody'd": "somebodyd"} | {
    word[:at] + word[at + 1 :]: word for word in APOSTROPHES.split() for at, mark in enumerate(word) if mark == "'"
}


def process_punctuation(text: str) -> str:
    """Return the text after the official punctuation step: marks dropped or turned into spaces, periods dropped."""
    drop_all = DIGIT_COMMA.search(text) is not None
    result = text
    for mark in PUNCTUATION:
        drop = drop_all or f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if drop else " ")
    return PERIOD.sub("", result, count=MAX_PERIODS)


def process_digit_article(text: str) -> str:
    """Return the text after the official digit and article step: lower case, digits, no articles, apostrophes."""
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def normalize_answer(text: str) -> str:
    """Return an answer as VQA 2.0 compares it: the punctuation step, then the digit and article step.

    Neither step knows full width digits, letters or marks: "１" is not "1", nor is "one".
    """
    return process_digit_article(process_punctuation(text))


def prepare_answer(text: str) -> str:
    """Return an answer as training targets and answer lists hold it: normalised. Source: UNITER.

    UNITER drops commas afterwards, of which normalisation leaves none.
    """
    return normalize_answer(text)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Return the official accuracy of an answer, 0 to 1: the mean over annotators of min(1, others who agree / 3).

    The answers are normalised only if the annotators do not all say the same: "Yes" is wrong against ten "yes".

    Args:
        prediction: the answer.
        answers: one an annotator; ten in VQA 2.0.

    Raises:
        ValueError: fewer than two annotators, of whom none can be left out.
    """
    if len(answers) < 2:
        raise ValueError(
            f"vqa_accuracy compares with the other annotators and got {len(answers)} answers; "
            "a single answer is for single_answer_accuracy."
        )
    prediction, answers = _one_line(prediction), [_one_line(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction, answers = normalize_answer(prediction), [normalize_answer(answer) for answer in answers]
    agree = answers.count(prediction)
    # each of those who agree is left out once, and so has one fewer to agree with; in the official order of rounding
    return _sum(min(1.0, (agree - (answer == prediction)) / 3) for answer in answers) / len(answers)


def _sum(numbers: Iterable[float]) -> float:
    return reduce(operator.add, numbers)  # `sum` makes up for rounding from Python 3.12 on


def mean_percent(scores: Sequence[float], digits: int) -> float:
    """Return the mean of the scores of questions in percent, rounded as the official evaluator does.

    Python 2 rounds what lies halfway away from zero, as 0.125 to 0.13; today's Python rounds to the even digit.
    """
    exact = Decimal(100 * _sum(scores) / len(scores))
    return float(exact.quantize(Decimal(1).scaleb(-digits), context=Context(prec=400, rounding=ROUND_HALF_UP)))


def single_answer_accuracy(prediction: str, answer: str, *, nfkc: bool = True) -> float:
    """Return 1.0 if an answer is the only right one, else 0.0: the score of VQA VG Japanese.

    The paper does not say how its Japanese metrics are counted. Here: equal after NFKC (full width digits and letters
    become ASCII, half width kana full width) and without outer spaces. No English rule is applied.

    Args:
        prediction: the answer.
        answer: the right one.
        nfkc: normalise; False compares the strings as they are, outer spaces apart.
    """
    if nfkc:
        prediction, answer = (unicodedata.normalize("NFKC", text) for text in (prediction, answer))
    return float(prediction.strip() == answer.strip())


__all__ = [
    "mean_percent",
    "normalize_answer",
    "prepare_answer",
    "process_digit_article",
    "process_punctuation",
    "single_answer_accuracy",
    "vqa_accuracy",
]
