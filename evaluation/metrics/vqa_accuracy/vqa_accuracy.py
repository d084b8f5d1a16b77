"""Accuracy of visual question answering as an `evaluate` module: the official one of VQA 2.0, or of single answers."""

from collections import defaultdict
from collections.abc import Sequence

import datasets
import evaluate

from .vqa_scores import mean_percent, single_answer_accuracy, vqa_accuracy

_DESCRIPTION = """
Accuracy of answers to questions about images, in percent, overall and by type of answer and of question. By default
the official accuracy of VQA 2.0: of each question's annotators, usually ten, each is left out in turn, an answer scores
min(1, others who gave it / 3), and these scores are averaged; answers are normalised as in the official evaluator. For
data with one right answer, such as VQA VG Japanese, `single_answer=True` counts answers equal to it.
"""
_CITATION = """
@inproceedings{goyal2017making,
    title = {Making the {V} in {VQA} Matter: Elevating the Role of Image Understanding in Visual Question Answering},
    author = {Goyal, Yash and Khot, Tejas and Summers-Stay, Douglas and Batra, Dhruv and Parikh, Devi},
    booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
    year = {2017}
}
"""
_INPUTS = """
Args:
    predictions: the answer to each question.
    references: the answers of the annotators of each question, a list of strings; in single-answer mode a list of one.
    answer_types: optional, the answer type of each question, given to `compute` for all of them; None counts in
        `overall` only.
    question_types: optional, the question type of each question, in the same way.
    single_answer: count an answer as right if it equals the only one.
    nfkc: in single-answer mode, compare after Unicode normalisation NFKC (full width digits become ASCII); outer spaces
        never count, and no other rule is applied.
    digits: to which the percentages are rounded, 2 in the official evaluator; halves away from zero, as there.

Returns:
    `overall`, `questions` (how many there were), and `per_answer_type` and `per_question_type` where types were given:
    dictionaries from type to accuracy, in percent.
"""


class VQAAccuracy(evaluate.Metric):
    """`compute(predictions=answers, references=annotators_answers)` gives the official accuracy of VQA 2.0."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            reference_urls=["https://visualqa.org/evaluation.html"],
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[list[str]],
        answer_types: Sequence[str | None] | None = None,
        question_types: Sequence[str | None] | None = None,
        single_answer: bool = False,
        nfkc: bool = True,
        digits: int = 2,
    ) -> dict[str, float | dict[str, float]]:
        if not predictions:
            raise ValueError("There are no predictions to score.")
        for question, given in enumerate(references):
            if single_answer and len(given) != 1:
                raise ValueError(f"Question {question} has {len(given)} answers; single_answer=True compares with one.")
            if not single_answer and len(given) < 2:
                raise ValueError(
                    f"Question {question} has {len(given)} answers; the official accuracy compares annotators with "
                    "each other. For data with one answer a question, pass single_answer=True."
                )
        if single_answer:
            scores = [
                single_answer_accuracy(p, one, nfkc=nfkc) for p, (one,) in zip(predictions, references, strict=True)
            ]
        else:
            scores = [vqa_accuracy(p, given) for p, given in zip(predictions, references, strict=True)]

        overall = mean_percent(scores, digits)
        results: dict[str, float | dict[str, float]] = {"overall": overall, "questions": len(scores)}
        for name, types in (("answer_types", answer_types), ("question_types", question_types)):
            if types is None:
                continue
            if len(types) != len(scores):
                raise ValueError(f"{name} holds {len(types)} types for {len(scores)} questions.")
            groups = defaultdict(list)
            for kind, score in zip(types, scores, strict=True):
                if kind is not None:
                    groups[kind].append(score)
            results[f"per_{name.removesuffix('s')}"] = {
                kind: mean_percent(groups[kind], digits) for kind in sorted(groups)
            }
        return results


__all__ = ["VQAAccuracy"]
