"""Metrics of visual question answering: the official accuracy by language and kind of question, and what it is worth.

*oracle accuracy*: that of always giving the best answer of the vocabulary; *chance*: that of giving any of them;
*majority*: that of always giving the answer that the exact question had most often in training. All are in percent.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from ...data.rows.types import QuestionRow
from ...data.vqa.answer_vocabulary import annotated_answers, candidate_scores
from .accuracy import prepare_answer, single_answer_accuracy, vqa_accuracy

DRAWS = 1000  # of the bootstrap
# table -> what it groups by
KINDS: dict[str, Literal["answer_type", "question_type"]]
KINDS = {"answer_types": "answer_type", "question_types": "question_type"}
COLUMNS = ("count", "accuracy", "accuracy_without_nfkc", "question_only", "majority", "chance", "oracle_accuracy")


class MajorityBaseline:
    """The answer that a question had most often in training; of an unseen question, that of its language."""

    def __init__(self, rows: Iterable[QuestionRow]) -> None:
        by_question: dict[tuple[str, str], Counter[str]] = {}
        by_language: dict[str, Counter[str]] = {}
        for row in rows:
            language, question = row["language"], row["question"]
            answers = filter(None, (prepare_for(language, answer) for answer in annotated_answers(row)))
            answer = next((answer for answer, _ in Counter(answers).most_common(1)), "")
            by_question.setdefault((language, question), Counter())[answer] += 1
            by_language.setdefault(language, Counter())[answer] += 1
        self._of_question = {key: counts.most_common(1)[0][0] for key, counts in by_question.items()}
        self._of_language = {key: counts.most_common(1)[0][0] for key, counts in by_language.items()}

    def __call__(self, row: QuestionRow) -> str:
        """Return the answer to a question; "" in a language without training."""
        language = row["language"]
        return self._of_question.get((language, row["question"]), self._of_language.get(language, ""))


@lru_cache(maxsize=2**17)  # a few answers are most of the millions there are
def prepare_for(language: str, answer: str, *, nfkc: bool = False) -> str:
    """Return an answer as targets and vocabularies hold it: English by the rules of VQA 2.0, else without outer spaces.

    Args:
        language: of the question.
        answer: of an annotator.
        nfkc: in other languages also the compatibility form, where １つ becomes 1つ. A peer's Japanese list has both.
    """
    if language == "en":
        return prepare_answer(answer)
    return (unicodedata.normalize("NFKC", answer) if nfkc else answer).strip()


def score_answer(prediction: str, answers: Sequence[str], *, nfkc: bool = True) -> float:
    """Return 0..1: the official leave-one-out accuracy, or of a single answer 1 if both are equal once normalised.

    `nfkc` compares a single answer in the compatibility form.
    """
    if len(answers) > 1:
        return vqa_accuracy(prediction, answers)
    return single_answer_accuracy(prediction, answers[0], nfkc=nfkc)


def vqa_accuracies(rows: Sequence[QuestionRow], predictions: Sequence[str]) -> dict[str, float]:
    """Return `accuracy`, and it by language and by answer type, such as `accuracy_en` and `accuracy_en_number`."""
    groups: dict[str, list[float]] = {}
    for row, prediction in zip(rows, predictions, strict=True):
        score = 100 * score_answer(prediction, annotated_answers(row))
        language = f"accuracy_{row['language']}"
        for name in ("accuracy", language, f"{language}_{row['answer_type']}" if row["answer_type"] else language):
            groups.setdefault(name, []).append(score)
    return {name: float(np.mean(scores)) for name, scores in groups.items()}


def vqa_metrics(
    rows: Sequence[QuestionRow],
    predictions: Sequence[str],
    vocabulary: Iterable[str],
    *,
    majority: MajorityBaseline | None = None,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return language -> metrics: count, accuracy, its 95 % interval, oracle accuracy, chance, and majority.

    Each language also has `answer_types` and `question_types`, the same by kind. A language whose questions have a
    single answer has `accuracy_without_nfkc` too. Intervals are from a bootstrap over images, since the questions of
    an image share its difficulty.

    Args:
        rows: annotated questions, as the readers of `wenlan.data` give them.
        predictions: their answers.
        vocabulary: all answers that the model chooses from.
        majority: of the training questions.
        seed: of the bootstrap.
    """
    listed, answered = sorted(set(vocabulary)), [annotated_answers(row) for row in rows]
    columns = {"accuracy": [score_answer(p, answers) for p, answers in zip(predictions, answered, strict=True)]}
    candidates = _candidate_scores(rows, listed)
    columns["oracle_accuracy"] = [max(scores, default=0.0) for scores in candidates]
    columns["chance"] = [sum(scores) / len(listed) for scores in candidates]
    if majority is not None:
        columns["majority"] = [
            score_answer(majority(row), answers) for row, answers in zip(rows, answered, strict=True)
        ]
    single = np.array([len(answers) == 1 for answers in answered])
    if single.any():
        pairs = zip(predictions, answered, strict=True)
        columns["accuracy_without_nfkc"] = [score_answer(p, answers, nfkc=False) for p, answers in pairs]
    scores = {name: 100 * np.array(values) for name, values in columns.items()}
    images = np.unique([str(row["image_id"]) for row in rows], return_inverse=True)[1]

    def summarise(chosen: np.ndarray) -> dict[str, Any]:
        names = [name for name in scores if name != "accuracy_without_nfkc" or single[chosen].any()]
        metrics: dict[str, Any] = {"count": int(chosen.sum())}
        metrics |= {name: float(scores[name][chosen].mean()) for name in names}
        return metrics | {"interval": image_interval(scores["accuracy"][chosen], images[chosen], seed=seed)}

    results = {}
    languages = np.array([row["language"] for row in rows])
    for language in dict.fromkeys(languages.tolist()):
        spoken = languages == language
        results[language] = summarise(spoken)
        for table, field in KINDS.items():
            kinds = np.array([str(row[field] or "") for row in rows])
            results[language][table] = {
                kind: summarise(spoken & (kinds == kind)) for kind in sorted(set(kinds[spoken].tolist())) if kind
            }
    return results


def _candidate_scores(rows: Sequence[QuestionRow], vocabulary: Sequence[str]) -> list[list[float]]:
    """Return the accuracies of the answers of the vocabulary that may score in each question."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        # a single answer is compared in compatibility form in all languages, as others are in all but English
        is_single = len(annotated_answers(row)) == 1
        groups.setdefault("any" if is_single else row["language"], []).append(index)
    scores: list[list[float]] = [[]] * len(rows)
    for language, indices in groups.items():
        prepare = partial(prepare_for, language, nfkc=True)
        found = candidate_scores([rows[index] for index in indices], vocabulary, score_answer, prepare=prepare)
        for index, one in zip(indices, found, strict=True):
            scores[index] = one
    return scores


def merge_control(metrics: dict[str, dict], others: Mapping[str, dict], name: str) -> None:
    """Write the accuracies of other metrics of the same questions into these, under a name."""
    for language, row in metrics.items():
        other = others[language]
        row[name] = other["accuracy"]
        for table in KINDS:
            for kind, cell in row[table].items():
                cell[name] = other[table][kind]["accuracy"]


def format_metrics(metrics: Mapping[str, dict]) -> str:
    """Return a table to print: a line for each language, and one for each of its kinds of answers and questions."""
    lines = []
    for language, row in metrics.items():
        columns = [name for name in COLUMNS if name in row]
        lines.append(f"{language:<32}" + "".join(f"{name.replace('_', ' '):>22}" for name in columns))
        cells = {f"all, {row['interval'][0]:.1f} to {row['interval'][1]:.1f}": row}
        cells |= {f"  {kind}": cell for table in KINDS for kind, cell in row[table].items()}
        for title, cell in cells.items():
            numbers = [f"{cell[name]:>22}" if name == "count" else f"{cell[name]:>22.1f}" for name in columns]
            lines.append(f"{title:<32}" + "".join(numbers))
    return "\n".join(lines)


def image_interval(scores: np.ndarray, images: np.ndarray, *, seed: int = 0) -> list[float]:
    """Return the 2.5th and the 97.5th percentile of the mean when whole images are drawn again.

    Args:
        scores: (n,) of questions.
        images: (n,) which image each is about.
        seed: of the draws.
    """
    group = np.unique(images, return_inverse=True)[1]
    sums, counts = np.bincount(group, scores), np.bincount(group)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(sums), size=len(sums)) for _ in range(DRAWS))
    means = [sums[drawn].sum() / counts[drawn].sum() for drawn in draws]
    return np.percentile(means, [2.5, 97.5]).tolist()


__all__ = [
    "MajorityBaseline",
    "format_metrics",
    "image_interval",
    "merge_control",
    "prepare_for",
    "score_answer",
    "vqa_accuracies",
    "vqa_metrics",
]
