"""The values that options can have: their types, as annotated, and their limits; checked before anything is loaded.

`option(..., low=0, high=1)` gives the limits of a field of ours, `OF_TRAINER` those of `TrainingArguments`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from transformers import PreTrainedConfig, TrainingArguments

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TOLD = 60  # characters of a value in a message


@dataclass(frozen=True)
class Limits:
    """From `low` (or above `above`) to `high` (or below `below`), all finite; `also` is allowed beside these."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    also: float | None = None

    def allow(self, value: float) -> bool:
        """Return True for a number within the limits."""
        return value == self.also or (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"from": self.low, "above": self.above, "to": self.high, "to less than": self.below}
        words = " ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        return f"a finite number {words}".rstrip() + ("" if self.also is None else f", or {self.also}")


class Described(str):
    """The description of an option, with its limits: all other metadata of a field go to argparse, which has none."""

    limits: Limits | None

    def __new__(cls, text: str, limits: Limits | None = None) -> "Described":
        """Return the text with the limits."""
        described = super().__new__(cls, text)
        described.limits = limits
        return described


POSITIVE, COUNT, NOT_NEGATIVE = Limits(above=0), Limits(low=1), Limits(low=0)
SEED = Limits(low=0, high=2**32 - 1)
OF_TRAINER = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), COUNT),
    **dict.fromkeys(("gradient_accumulation_steps", "save_total_limit", "eval_accumulation_steps"), COUNT),
    **dict.fromkeys(("torch_empty_cache_steps", "dataloader_prefetch_factor", "ddp_timeout"), COUNT),
    **dict.fromkeys(("learning_rate", "num_train_epochs", "adam_epsilon"), POSITIVE),
    **dict.fromkeys(("save_steps", "eval_steps", "logging_steps"), POSITIVE),
    **dict.fromkeys(("weight_decay", "max_grad_norm", "warmup_steps", "eval_delay"), NOT_NEGATIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), Limits(low=0, below=1)),
    **dict.fromkeys(("seed", "data_seed"), SEED),
    "max_steps": Limits(low=1, also=-1),
    "neftune_noise_alpha": NOT_NEGATIVE,
    "dataloader_num_workers": Limits(low=0, high=128),
}


def limits_of(arguments: "type[DataclassInstance]") -> Mapping[str, Limits]:
    """Return the limits of the fields of a dataclass of options."""
    if issubclass(arguments, TrainingArguments):
        return OF_TRAINER
    described = {one.name: one.metadata.get("help") for one in fields(arguments)}
    return {name: text.limits for name, text in described.items() if isinstance(text, Described) and text.limits}


def fit_arguments(
    arguments: "type[DataclassInstance]", values: Mapping[str, Any], given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the fields of a dataclass of options, and the problems of those that were given.

    These get their types: 1 where a number with a fraction is meant becomes 1.0.
    """
    fitted = {one.name: values[one.name] for one in fields(arguments) if one.init}
    problems: list[str] = []
    limits, hints = limits_of(arguments), get_type_hints(arguments, include_extras=True)
    for name in fitted.keys() & set(given):
        fitted[name], found = _fit(name, fitted[name], hints[name], limits.get(name))
        problems += found
    return fitted, sorted(problems)


def _fit(name: str, value: Any, hint: Any, limits: Limits | None) -> tuple[Any, list[str]]:
    if get_origin(hint) is Annotated:
        hint, known, *_ = get_args(hint)
        if isinstance(value, Mapping):
            return _fit_keys(name, value, known)
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    try:
        value = _convert(value, choices)
    except ValueError as error:
        return value, [f"{name} is {str(value)[:TOLD]!r}; give {limits or error}."]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not (limits or (Limits() if float in choices else None) or _ANY).allow(value):
        return value, [f"{name} is {value}; give {limits or Limits()}."]
    return value, []


def _fit_keys(name: str, values: Mapping[str, Any], known: type) -> tuple[dict[str, Any], list[str]]:
    """Do the same to the keys of a dictionary, of which a configuration or a dataclass says the types."""
    if not is_dataclass(known):  # a TypedDict, whose owner checks it
        return dict(values), []
    hints, fitted, problems = {one.name: one.type for one in fields(known)}, dict(values), []
    inner = dict(known.sub_configs) if issubclass(known, PreTrainedConfig) else {}
    for key, value in values.items():
        if key in inner and isinstance(value, Mapping):
            if inner[key] is not PreTrainedConfig:  # else of any model
                fitted[key], found = _fit_keys(f"{name}.{key}", value, inner[key])
                problems += found
        elif key in hints:
            fitted[key], found = _fit(f"{name}.{key}", value, hints[key], None)
            problems += found
    return fitted, problems


class _Any(Limits):
    def allow(self, value: float) -> bool:
        return True


_ANY = _Any()


def _convert(value: Any, choices: Sequence[Any]) -> Any:
    """Return the value as one of the types that a hint allows.

    Raises:
        ValueError: it is none of them; says in words what is.
    """
    kinds = {choice: get_origin(choice) or choice for choice in choices}
    if not set(kinds.values()) <= {int, float, bool, str, NoneType, dict, list, tuple, Literal}:
        return value  # something that the dataclass makes sense of
    if value is None and NoneType not in choices:
        raise ValueError("a value")
    if any(type(value) is kind for kind in kinds.values()) or value is None:
        return value
    if isinstance(value, list) and tuple in kinds.values():
        return value  # as YAML has them
    for choice, kind in kinds.items():
        if kind is Literal and value in get_args(choice):
            return value
        if kind in _CONVERTERS and (converted := _CONVERTERS[kind](value)) is not None:
            return converted
    if str in choices:
        return value  # such as a list of folders, where a recipe may give several
    words = {int: "a whole number", float: "a number", bool: "true or false", dict: "keys with values", list: "a list"}
    wanted = [
        ", ".join(map(str, get_args(choice))) if kind is Literal else words.get(kind, "a text")
        for choice, kind in kinds.items()
        if kind is not NoneType
    ]
    raise ValueError(" or ".join(wanted))


def _to_int(value: Any) -> int | None:
    number = _to_float(value)
    return int(number) if number is not None and number.is_integer() else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _to_bool(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _to_list(value: Any) -> list[Any] | None:
    return [value] if isinstance(value, str) else None


_CONVERTERS = {int: _to_int, float: _to_float, bool: _to_bool, list: _to_list}

__all__ = ["COUNT", "NOT_NEGATIVE", "POSITIVE", "Described", "Limits", "fit_arguments", "limits_of"]
