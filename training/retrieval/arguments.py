"""The options of fine-tuning to retrieval: the settings of the paper's table 3, the data, and how it is evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...evaluation.tables.paper import GROUPS, Setting
from ..option_conflicts import Overrules
from ..recipe_options import option

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass
class RetrievalArguments:
    """Settings of fine-tuning for retrieval and of its evaluation."""

    init_from: str = option("", "folder or hub id of an MLMM, or of a BriVL (two towers)")
    setting: Setting = option(
        "all", "one model from English captions, one from those of each language, or one from all"
    )
    languages: list[str] = option([], "of the training; by default all there are")
    retrieval_loss: Literal["itm", "margin"] = option(
        "itm", "MLMM: classify pairs, or rank the right one of a group first"
    )
    rank_margin: float = option(0.2, "of the margin loss", low=0)
    num_wrong: int = option(1, "MLMM: wrong images, and wrong captions, of each caption", low=1)
    hard_negatives: dict = option(
        {}, "MLMM, in place of num_wrong: {pool: 399, keep: 31}: the hardest of so many wrong ones"
    )
    scoring_batch_size: int = option(256, "pairs, or images of BriVL, that are evaluated at once", low=1)
    scoring_dtype: Literal["float32", "bfloat16", "float16"] = option(
        "float32", "MLMM: what scores are computed in; they are stored as float32"
    )
    without_regions: bool = option(False, "MLMM: a control, the test once more with regions of zeros")
    evaluate_only: bool = option(False, "evaluate init_from as it is")

    OVERRULES: ClassVar = (
        Overrules("hard_negatives", ("num_wrong",), bool, "--hard_negatives {}"),
        Overrules("retrieval_loss", ("rank_margin",), lambda loss: loss != "margin", "--retrieval_loss margin"),
    )

    def __post_init__(self) -> None:
        problems = [] if self.init_from else ["init_from is missing: the folder of a pre-trained MLMM or BriVL"]
        choices = {"setting": tuple(GROUPS), "retrieval_loss": ("itm", "margin"), "scoring_dtype": PRECISIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                problems.append(f"{name} is {getattr(self, name)!r}; give {', '.join(known)}")
        if problems:
            raise ValueError(f"The recipe cannot be used: {'; '.join(problems)}.")

    def groups(self, languages: Sequence[str]) -> dict[str, list[str]]:
        """Return the languages of each model, by the name of its folder; "" is the output folder itself.

        Raises:
            ValueError: the setting needs a language without training captions.
        """
        wanted = ["en"] if self.setting == "en" else self.languages or list(languages)
        if missing := [language for language in wanted if language not in languages]:
            raise ValueError(
                f"There are no training captions in {', '.join(missing)}, only in {', '.join(languages)}: give other "
                "captions, or setting and languages that fit."
            )
        return {language: [language] for language in wanted} if self.setting == "each" else {"": wanted}


@dataclass
class RetrievalData:
    """Images and captions. Captions are a folder with captions_LANGUAGE.jsonl, in a recipe also language -> file.

    Those of an MLMM may also be a list of folders. A folder with hard_negatives.jsonl says which images look alike.
    """

    regions: str | None = option(None, "MLMM: folder, in a recipe also a list of them")
    captions: str | None = option(None, "of the training")
    validation_regions: str | None = option(None, "choose the best checkpoint")
    validation_captions: str | None = option(None, "theirs")
    test_regions: str | None = option(None, "are evaluated on at the end")
    test_captions: str | None = option(None, "theirs")
    validation_language: str = option("en", "in which the best checkpoint is chosen, or a model's only one")
    validation_images: int = option(100, "the first so many; 0: all", low=0)
    test_images: int = option(0, "the first so many; 0: all", low=0)
    test_caption: int = option(0, "0: all captions of an image; n: its n-th alone, or its last if it has fewer", low=0)
    test_folds: int = option(1, "parts that are evaluated on their own; 5 of COCO's test", low=1)
    on_bad_shard: Literal["raise", "skip"] = option("raise", "a damaged shard of regions")
    max_bad_fraction: float = option(0.1, "stop if a greater fraction of a file's rows is bad", low=0, high=1)

    def part(self, name: str, *, needs_regions: bool = True) -> dict[str, Any] | None:
        """Return regions and captions of "training", "validation" or "test" as a mapping, None if there are none.

        Raises:
            ValueError: half of them is missing.
        """
        prefix = "" if name == "training" else f"{name}_"
        part = {kind: getattr(self, prefix + kind) for kind in ("regions", "captions")}
        if not part["captions"] and not part["regions"]:
            return None
        missing = [kind for kind, value in part.items() if not value and (needs_regions or kind == "captions")]
        if missing:
            raise ValueError(f"{prefix}{missing[0]} is missing: captions and regions go together.")
        return part

    def choose_validation(self, languages: Sequence[str]) -> str:
        """Return the language in which a model for these languages is chosen: English, or its only one."""
        return self.validation_language if len(languages) > 1 or self.validation_language in languages else languages[0]


__all__ = ["RetrievalArguments", "RetrievalData"]
