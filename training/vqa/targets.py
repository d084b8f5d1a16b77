"""The answer vocabulary of a model, and the score of each of its answers to a training question."""

from collections.abc import Sequence
from functools import partial

from ...data.vqa.answer_vocabulary import annotated_answers, build_answers, read_answers
from ...data.vqa.dataset import QuestionFile
from ...evaluation.vqa.report import prepare_for
from ...processing.collators.mlmm_finetuning import soft_targets
from .arguments import QuestionArguments


def choose_answers(args: QuestionArguments, files: Sequence[QuestionFile]) -> list[str]:
    """Return the answer vocabulary: the given lists joined, or the most common answers of each language in training.

    Raises:
        ValueError: a list is empty, or no answer is common enough.
    """
    if args.answers:
        lists = [read_answers(path) for path in args.answers]
    else:
        languages = dict.fromkeys(file.source.language for file in files)
        lists = [
            build_answers(
                [row for file in files if file.source.language == language for row in file.rows],
                min_questions=args.min_answer_questions if args.max_answers is None else None,
                size=args.max_answers,
                prepare=partial(prepare_for, language, nfkc=args.nfkc_answers),
            )
            for language in languages
        ]
    return list(dict.fromkeys(answer for one in lists for answer in one))


def add_targets(files: Sequence[QuestionFile], answers: Sequence[str], *, nfkc: bool) -> None:
    """Give every question its `targets`, answer number -> score; count those without an answer in the vocabulary.

    Raises:
        ValueError: no question of a file has an answer in the vocabulary.
    """
    ids = {answer: number for number, answer in enumerate(answers)}
    for file in files:
        for row in file.rows:
            prepared = [prepare_for(row["language"], answer, nfkc=nfkc) for answer in annotated_answers(row)]
            row["targets"] = soft_targets(prepared, ids)
        outside = (row for row in file.rows if not any(row["targets"].values()))
        if file.note("no answer in the vocabulary", outside) == len(file.rows):
            raise ValueError(
                f"None of the {len(answers)} answers is an answer to a question of {file.source.questions}: give a "
                "list of answers in its language, made from it or from data like it."
            )


__all__ = ["add_targets", "choose_answers"]
