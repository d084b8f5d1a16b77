"""Options that leave each other without effect, and those that a training command needs as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What our Trainers and collators need, whatever the task. A dataclass of options adds its own as `NEEDS`.
NEEDS = {
    "remove_unused_columns": False,  # what a row holds becomes tensors in the collator
    "enable_jit_checkpoint": False,  # it saves inside a step, when the momentum towers have moved
    "ignore_data_skip": False,  # a resumed run would see other rows
    "restore_callback_states_from_checkpoint": False,
    "auto_find_batch_size": False,  # the batch is part of what a run is
}


@dataclass(frozen=True)
class Overrules:
    """One option leaves others without effect where a condition on its value holds.

    Attributes:
        winner, losers: names of options.
        when: takes the value of the winner.
        remedy: what to give for a loser to have effect.
    """

    winner: str
    losers: tuple[str, ...]
    when: Callable[[Any], bool]
    remedy: str


# Of the Trainer. A dataclass of options adds its own as `OVERRULES`.
OF_TRAINER = (
    Overrules("max_steps", ("num_train_epochs",), lambda steps: steps > 0, "--max_steps -1"),
    Overrules("save_strategy", ("save_steps",), lambda value: value != "steps", "--save_strategy steps"),
    Overrules("save_strategy", ("save_total_limit",), lambda value: value == "no", "--save_strategy steps"),
    Overrules("eval_strategy", ("eval_steps",), lambda value: value != "steps", "--eval_strategy steps"),
    Overrules("logging_strategy", ("logging_steps",), lambda value: value != "steps", "--logging_strategy steps"),
)


def set_needed(dataclasses: Sequence[type], values: dict[str, Any], given: set[str]) -> list[str]:
    """Set what is needed and was not given; return the problems of what was."""
    needs = dict(NEEDS)
    for arguments in dataclasses:
        needs |= getattr(arguments, "NEEDS", {})
    problems = []
    for name, needed in needs.items():
        if name in values and name not in given:
            values[name] = needed
        elif name in values and values[name] != needed:
            problems.append(f"{name} is {values[name]}; this command needs {needed}: leave it out.")
    return problems


def find_overruled(
    dataclasses: Sequence[type], values: Mapping[str, Any], in_recipe: set[str], in_options: set[str]
) -> list[str]:
    """Return a problem for each option that was given and has no effect.

    An option of the command line replaces what the recipe says, so it may well overrule that; it must not be overruled.

    Args:
        dataclasses: of the options.
        values: of all options.
        in_recipe, in_options: names of those that the recipe gives, and the command line.
    """
    problems = []
    rules = [*OF_TRAINER, *(rule for arguments in dataclasses for rule in getattr(arguments, "OVERRULES", ()))]
    for rule in rules:
        if rule.winner not in values or not rule.when(values[rule.winner]):
            continue
        epochs = {"num_train_epochs"} & in_recipe if rule.winner in in_recipe - in_options else set()
        for name in rule.losers:
            if name in in_options | epochs:
                source = "on the command line" if rule.winner in in_options else "in the recipe"
                source = source if rule.winner in in_options | in_recipe else "by default"
                value = str(values[rule.winner])[:40]
                problems.append(
                    f"{name} has no effect: {rule.winner} ({value}, {source}) overrules it. Leave {name} out, or give "
                    f"{rule.remedy}."
                )
    return problems


__all__ = ["Overrules", "find_overruled", "set_needed"]
