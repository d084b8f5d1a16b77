"""Fine-tune a BriVL on pairs of your own: the pre-training script with the recipe brivl_finetune.

    wenlan finetune-brivl runs/quickstart --data photos
    wenlan finetune-brivl runs/quickstart --data photos --text_column text_zh --output_dir runs/mine
    wenlan finetune-brivl runs/quickstart --data photos --resume                    # resumes an interrupted run

Any field of the recipe may be given. `wenlan pretrain-brivl RECIPE --init_from MODEL` does the same with your recipe.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from .pretrain_brivl import main as pretrain

RECIPE = "brivl_finetune"
USAGE = "wenlan finetune-brivl MODEL --data PAIRS [--FIELD VALUE ...]"


def main(argv: Sequence[str] | None = None) -> Path:
    """Train from a model, evaluate it before and after; return the folder.

    Raises:
        SystemExit: as `pretrain_brivl.main`.
        ValueError: no model or no data is given, or as there.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not {"-h", "--help"}.isdisjoint(words):
        print(f"{USAGE}\n\nThe recipe {RECIPE}, whose fields are those of pretrain-brivl:\n")
        return pretrain([RECIPE, "--help"])
    if not words or words[0].startswith("-"):
        raise ValueError(f"Give the folder or hub id of a BriVL first: {USAGE}")
    if not any(word.partition("=")[0] == "--data" for word in words):
        raise ValueError(f"Give --data, a file or folder of pairs: {USAGE}")
    return pretrain([RECIPE, "--init_from", *words])


__all__ = ["main"]

if __name__ == "__main__":
    main()
