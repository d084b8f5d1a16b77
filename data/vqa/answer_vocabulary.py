"""The *answer vocabulary*: the closed list of answers, by the rules of VQA 2.0 or VQA VG Japanese, or from a file."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..files.json_files import read_json, write_json
from ..rows.text import is_blank
from ..rows.types import QuestionRow


def build_answers(
    rows: Iterable[QuestionRow],
    *,
    min_questions: int | None = None,
    size: int | None = None,
    prepare: Callable[[str], str] = str,
) -> list[str]:
    """Return the most common answers, the most common first; of equally common ones, the first by code points.

    The answer of a question is its `multiple_choice_answer`, the one that most annotators gave, or its only answer.
    `min_questions=9` is the rule for VQA 2.0 (3,129 answers of its training and validation questions), `size=3000` that
    for VQA VG Japanese.

    Args:
        rows: of `read_vqa`, of the training split. A question that is there twice counts once.
        min_questions: keep the answers of so many questions.
        size: keep so many answers, or all if there are fewer.
        prepare: normalises an answer, e.g. `wenlan.evaluation.prepare_answer`. What it makes empty counts as the
            answer "", which is one of the 3,129.

    Raises:
        ValueError: not exactly one of `min_questions` and `size` is given, a row has no answer, or no answer is left.
    """
    if (min_questions is None) == (size is None):
        raise ValueError("Give either min_questions (9 for VQA 2.0) or size (3000 for VQA VG Japanese).")
    if (min_questions or size or 0) < 1:
        raise ValueError(f"min_questions or size is {min_questions or size}; it must be 1 or more.")
    counts: Counter[str] = Counter()
    seen = set()
    for row in rows:
        key = (row.get("language"), row["question_id"])
        if key not in seen:
            seen.add(key)
            counts[prepare(_common_answer(row))] += 1
    ranked = sorted(counts, key=lambda answer: (-counts[answer], answer))
    kept = [answer for answer in ranked[:size] if counts[answer] >= (min_questions or 1)]
    if not kept:
        raise ValueError(f"No answer belongs to {min_questions} of the {len(seen)} questions; lower min_questions.")
    return kept


def _common_answer(row: QuestionRow) -> str:
    answers, answer = row.get("answers"), row.get("multiple_choice_answer")
    if answer is None and answers and len(answers) == 1:
        answer = answers[0]
    if answer is None:
        raise ValueError(
            f"Question {row['question_id']} has no multiple_choice_answer; make the list from a split with annotations."
        )
    return answer


def annotated_answers(row: QuestionRow) -> list[str]:
    """Return the answers to a question; ValueError if it has none."""
    if not row["answers"]:
        raise ValueError(f"Question {row['question_id']} has no answers; give its annotations.")
    return row["answers"]


def read_answers(path: str | Path) -> list[str]:
    """Return the answers of a JSON file, by their number: a list, or {answer: number} with the numbers from 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is neither of these, an answer is there twice, or a number is missing.
    """
    content, path = read_json(Path(path)), Path(path)
    if isinstance(content, dict):
        numbers = list(content.values())
        if {type(n) for n in numbers} != {int} or sorted(numbers) != list(range(len(numbers))):
            raise ValueError(f"{path}: the answers are not numbered from 0 to {len(numbers) - 1}, each number once.")
        content = sorted(content, key=content.__getitem__)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} holds no answers; it must be a JSON list of them, or an object answer -> number.")
    # VQA 2.0 has an empty answer; one of invisible characters is a mistake.
    if bad := [answer for answer in content if not isinstance(answer, str) or (answer and is_blank(answer))]:
        raise ValueError(f"{path}: {str(bad[0])[:40]!a} is no answer; write strings that can be read.")
    if twice := [answer for answer, count in Counter(content).items() if count > 1]:
        raise ValueError(f"{path} has {twice[0]!r} twice; a question would have two right numbers.")
    return content


def write_answers(answers: Sequence[str], path: str | Path) -> None:
    """Write the list as JSON, an answer a line; the file appears when it is complete."""
    write_json(Path(path), list(answers), indent=0)


def candidate_scores(
    rows: Iterable[QuestionRow],
    answers: Sequence[str],
    accuracy: Callable[[str, Sequence[str]], float],
    *,
    prepare: Callable[[str], str] = str,
) -> list[list[float]]:
    """Return for each question the accuracies, 0 to 1, of the answers of the list that may score; the others have 0.

    Args:
        rows: of `read_vqa`, with answers.
        accuracy: of a prediction, given all answers to its question: `wenlan.evaluation.vqa.accuracy.vqa_accuracy`.
        prepare: makes two answers equal that `accuracy` takes for the same.

    Raises:
        ValueError: a question has no answers.
    """
    listed: dict[str, set[str]] = {}
    for answer in answers:
        for form in (answer, prepare(answer)):
            listed.setdefault(form, set()).add(answer)
    scores = []
    for row in rows:
        answers_given = annotated_answers(row)
        forms = {form for given in answers_given for form in (given, prepare(given))}
        candidates = sorted({answer for form in forms for answer in listed.get(form, ())})
        scores.append([accuracy(answer, answers_given) for answer in candidates])
    return scores


def oracle_accuracy(
    rows: Iterable[QuestionRow],
    answers: Sequence[str],
    accuracy: Callable[[str, Sequence[str]], float],
    *,
    prepare: Callable[[str], str] = str,
) -> float:
    """Return the mean accuracy, 0 to 1, of always choosing the best answer of the list.

    Raises:
        ValueError: there is no row, or as `candidate_scores`, whose arguments these are.
    """
    best = [max(scores, default=0.0) for scores in candidate_scores(rows, answers, accuracy, prepare=prepare)]
    if not best:
        raise ValueError("There are no questions; the oracle accuracy is a mean over some.")
    return sum(best) / len(best)


__all__ = ["annotated_answers", "build_answers", "candidate_scores", "oracle_accuracy", "read_answers", "write_answers"]
