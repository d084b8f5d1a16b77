"""The commands that run a training script: all words after the command are the script's own, --help too."""

from importlib import import_module

import typer

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
SCRIPTS = {
    "Train": {
        "pretrain-brivl": ("pretrain_brivl", "Pre-train BriVL from a recipe, such as brivl_small."),
        "finetune-brivl": ("finetune_brivl", "Train a BriVL further on pairs of your own: MODEL --data PAIRS."),
        "pretrain-mlmm": ("pretrain_mlmm", "Pre-train MLMM from a recipe, such as mlmm_tiny."),
        "finetune-retrieval": (
            "finetune_retrieval",
            "Fine-tune MLMM or BriVL for retrieval from a recipe, such as retrieval_tiny, and evaluate it.",
        ),
        "finetune-vqa": ("finetune_vqa", "Fine-tune MLMM to answer questions from a recipe, such as vqa_tiny."),
        "train-vqgan": ("train_vqgan", "Train a VQGAN, through which to generate images, from a recipe: vqgan_tiny."),
        "train-detector": ("train_region_detector", "Train a region detector from a recipe, such as detector_tiny."),
    },
    "Figures": {
        "visualize": (
            "figures.visualize",
            "Make the paper's figure 4: images that texts, an image or a neuron call up in a frozen BriVL.",
        ),
        "generate": (
            "figures.generate",
            "Make the paper's figure 11: images of texts, by the codes of a frozen VQGAN that BriVL guides.",
        ),
        "attention": (
            "figures.attention",
            "Make the paper's figure 6: which regions of an image words attend to, in several languages.",
        ),
        "words": (
            "figures.words",
            "Make the figures 7-10 of the paper: neighbours of words before and after training with images.",
        ),
        "hybrid-curve": (
            "figures.hybrid_curve",
            "Draw quality against latency of two stages: a BriVL finds candidates, an MLMM puts them in order.",
        ),
    },
    "Reproduce": {
        "table1": (
            "table1",
            "Make the paper's table 1: zero-shot classification by class names, on emoji7 or images of your own.",
        ),
        "table2": (
            "table2",
            "Make the paper's table 2: texts classified from one example a class, with and without visual training.",
        ),
        "table3": (
            "reproduce_table3",
            "Make the paper's table 3: MLMM fine-tuned for retrieval on English, on each language, and on all.",
        ),
        "table4": (
            "reproduce_table4",
            "Make the paper's table 4: MLMM fine-tuned to answer questions, by language and kind of question.",
        ),
    },
}


def add_scripts(app: typer.Typer, panel: str) -> None:
    """Add the commands of a panel of the help."""
    for command, (module, text) in SCRIPTS[panel].items():
        _add_script(app, command, module, text, panel)


def _add_script(app: typer.Typer, command: str, module: str, text: str, panel: str) -> None:
    @app.command(command, help=text, rich_help_panel=panel, add_help_option=False, context_settings=PASS_ON)
    def run(context: typer.Context) -> None:
        import_module(f"..training_scripts.{module}", __package__).main(context.args)


__all__ = ["add_scripts"]
