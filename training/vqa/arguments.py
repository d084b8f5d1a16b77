"""Options of fine-tuning to questions: the model, its head and its control; the files and their regions."""

from dataclasses import dataclass
from typing import ClassVar

from ...data.vqa.load import QuestionSource, Split, find_annotations
from ..option_conflicts import Overrules
from ..recipe_options import option


@dataclass
class VQAArguments:
    """The model to fine-tune, its head and its control."""

    init_from: str | None = option(
        None, "folder or hub id of an MLMM: a pre-trained one, or one for questions with its own answers"
    )
    detector: str | None = option(None, "folder or hub id of the regions' detector, if the MLMM names none")
    head_lr_factor: float = option(10.0, "the head learns so many times faster", above=0)
    prior_bias: bool = option(False, "a new head starts from the frequencies of answers, for short runs")
    answer_embeddings: bool = option(
        False, "the answers of a new head start from the embeddings of their words, likewise"
    )
    question_only: bool = option(False, "a control: regions of zeros in training and test, so nothing is looked at")
    with_control: bool = option(False, "first train that control, in question_only/, and report it beside")
    predict_only: bool = option(False, "answer the test questions, without training")


@dataclass
class QuestionArguments:
    """Questions to train on and to evaluate by. Lists go together: the first annotations with the first questions."""

    questions: list[str] = option([], "files of questions to train on")
    annotations: list[str] = option([], "their answers; by default the files beside them that have the official names")
    languages: list[str] = option(["en"], "of each file, or one for all")
    regions: list[str] = option([], "folders with the regions of the images")
    test_questions: list[str] = option([], "files of questions to evaluate on")
    test_annotations: list[str] = option([], "as annotations; without any, there is only a file of answers")
    test_languages: list[str] = option(["en"], "as languages")
    test_regions: list[str] = option([], "folders with their regions")
    image_pattern: str | None = option(
        None, "how images are named, from id and subtype; by default as COCO or EmojiScenes do"
    )
    image_data: str | None = option(
        None, "of Visual Genome: VQA VG Japanese is split by the folders in it, else by ids"
    )
    answers: list[str] = option([], "files with lists of answers, in place of counting those of training")
    min_answer_questions: int = option(
        9, "of each language, answers that so many questions have (VQA 2.0: 9, 3,129 answers)", low=1
    )
    max_answers: int | None = option(
        None, "of each language, the so many most common instead (VQA VG Japanese: 3000)", low=1
    )
    nfkc_answers: bool = option(False, "write answers in other languages than English in compatibility form")
    max_bad_fraction: float = option(
        0.1, "stop if a greater fraction of a file's questions cannot be used", low=0, high=1
    )

    OVERRULES: ClassVar = (
        Overrules("max_answers", ("min_answer_questions",), lambda size: size is not None, "no max_answers"),
    )

    def sources(self, *, test: bool) -> list[QuestionSource]:
        """Return the files to evaluate on or those to train on; ValueError if the lists do not go together."""
        questions, annotations, languages = self.questions, self.annotations, self.languages
        if test:
            questions, annotations, languages = self.test_questions, self.test_annotations, self.test_languages
        given = {"annotations": len(annotations or questions), "languages": len(languages)}
        problems = [
            f"{count} {name} for {len(questions)} files of questions"
            for name, count in given.items()
            if count != len(questions) and (name, count) != ("languages", 1)
        ]
        if problems:
            raise ValueError(f"The questions cannot be used: {'; '.join(problems)}.")
        answers = annotations or map(find_annotations, questions)
        spoken = languages if len(languages) == len(questions) else languages * len(questions)
        split: Split = "validation" if test else "train"
        return [QuestionSource(*one, split) for one in zip(questions, answers, spoken, strict=True)]

    def folders(self, *, predict_only: bool) -> list[list[str]]:
        """Return the folders of regions that are needed, of training and of the test.

        Raises:
            ValueError: questions are there without regions, or there are none.
        """
        needed = {"test_": (self.test_questions, self.test_regions)}
        if not predict_only:
            needed[""] = self.questions, self.regions
        problems = [
            f"{name}questions without {name}regions" for name, (some, paths) in needed.items() if some and not paths
        ]
        if not (self.test_questions if predict_only else self.questions):
            problems.append("no test_questions to answer" if predict_only else "no questions to train on")
        if problems:
            raise ValueError(f"The questions cannot be used: {'; '.join(problems)}.")
        return [paths for some, paths in needed.values() if some]


__all__ = ["QuestionArguments", "VQAArguments"]
