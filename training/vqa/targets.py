"""The answer vocabulary of a model, and the score of each of its answers to a training question."""

import logging
from collections.abc import Sequence
from functools import partial

from ...data.vqa.answer_vocabulary import annotated_answers, build_answers, read_answers
from ...data.vqa.dataset import QuestionFile
from ...evaluation.vqa.report import prepare_for
from ...processing.collators.mlmm_finetuning import soft_targets
from .arguments import QuestionArguments

logger = logging.getLogger(__name__)

MAX_UNANSWERED = 0.75  # fraction of questions; free answers are mostly rare ones, those of another language all differ


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


def add_targets(
    files: Sequence[QuestionFile], answers: Sequence[str], *, nfkc: bool, max_bad_fraction: float = 0.1
) -> None:
    """Give every question its `targets`, answer number -> score; count those without an answer in the vocabulary.

    More of these than `max_bad_fraction` are warned of: rare answers are left out of a vocabulary by design.

    Raises:
        ValueError: more questions of a file than MAX_UNANSWERED, and than `max_bad_fraction`, have no answer there.
    """
    ids = {answer: number for number, answer in enumerate(answers)}
    for file in files:
        for row in file.rows:
            prepared = [prepare_for(row["language"], answer, nfkc=nfkc) for answer in annotated_answers(row)]
            row["targets"] = soft_targets(prepared, ids)
        outside = (row for row in file.rows if not any(row["targets"].values()))
        lost = file.note("no answer in the vocabulary", outside)
        found = (
            f"{lost} of {len(file.rows)} questions of {file.source.questions} have no answer among the {len(answers)} "
            "of the vocabulary and teach nothing: give a list of answers in their language, made from them or from "
            "data like them, or lower --min_answer_questions."
        )
        if lost > max(MAX_UNANSWERED, max_bad_fraction) * len(file.rows) or lost == len(file.rows):
            raise ValueError(found)
        if lost > max_bad_fraction * len(file.rows):
            logger.warning(found)


__all__ = ["add_targets", "choose_answers"]
