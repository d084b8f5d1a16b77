"""The identity of a run: what decides its result, in every checkpoint and in the output folder.

*settings* are the recipe's; *content* is what cannot change within a run: rows, vocabulary, label maps, the model.
Where logs and checkpoints go, how often, the device, the number of threads, and of workers where they share no stream,
do not count.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, TrainingArguments

from ..data.files.hashing import hash_json
from ..data.files.json_files import read_json, write_json
from ..data.files.manifest import differences

IDENTITY = "run_identity.json"
OF_TRAINER = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "max_steps", "num_train_epochs", "seed"),
    *("data_seed", "dataloader_drop_last", "train_sampling_strategy", "bf16", "fp16", "label_smoothing_factor"),
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim", "optim_args"),
    *("weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "neftune_noise_alpha"),
    *("optim_target_modules", "average_tokens_across_devices", "full_determinism"),
)
OF_EVERY_MODEL = {*PreTrainedConfig().to_dict(), "label2id"} - {"id2label"}
MAX_CHARACTERS = 200  # of a list, or of a mapping of numbers such as id2label, that is kept as it is
NAMED = 4  # differences that a message names
Identity = dict[str, Any]


def describe_run(
    args: TrainingArguments,
    settings: Mapping[str, object],
    *,
    data: Mapping[str, object],
    model: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Identity:
    """Return the identity of a run as plain values of JSON.

    Args:
        args: of the Trainer.
        settings: of the recipe, that are neither the Trainer's nor the model's.
        data: what is trained on, as digests of `content_digest.py`, counts and names.
        model: its configuration, with the label maps.
        tokenizer: whose vocabulary the model reads.
    """
    trainer = {name: getattr(args, name) for name in OF_TRAINER} | {"processes": args.world_size}
    if args.max_steps > 0:
        del trainer["num_train_epochs"]  # it says nothing then
    content: dict[str, object] = {"data": dict(data), "model": _values_of(model)}
    if tokenizer is not None:
        content["vocabulary"] = {"size": len(tokenizer), "digest": hash_json(sorted(tokenizer.get_vocab().items()))}
    identity = {"settings": {**trainer, **settings}, "content": content}
    return _compact(json.loads(json.dumps(identity, default=str)))


def write_identity(folder: Path, identity: Identity) -> None:
    """Write the identity of the run whose folder or checkpoint it is."""
    write_json(folder / IDENTITY, identity)


def refuse_other_run(folder: Path, wanted: Identity, *, accept_changes: bool = False) -> None:
    """Raise ValueError, with what differs, if a folder or checkpoint is not of the run that is wanted.

    One without an identity, from an older version, is taken with a word on it.

    Args:
        folder: output folder or checkpoint.
        wanted: of the run that is to go on there.
        accept_changes: only say which settings differ; what differs in content is refused all the same.
    """
    try:
        found = read_json(folder / IDENTITY)
    except FileNotFoundError:
        print(f"{folder} holds no {IDENTITY} (an older version wrote it): whether it is of the same run is not known.")
        return
    if not isinstance(found, dict):
        raise ValueError(f"{folder / IDENTITY} holds no identity of a run; give another output_dir.")
    settings, content = (list(_describe(found.get(part), wanted[part])) for part in ("settings", "content"))
    if settings and not content and accept_changes:
        print(f"{folder} was trained with other settings, as accepted: {_join(settings)}.")
    elif others := content + settings:
        way_on = "; --accept_changes true goes on with other settings" if not content else ""
        raise ValueError(
            f"{folder} was trained otherwise: {_join(others)}. Give the same data and settings to resume{way_on}. To "
            f"begin anew, give another output_dir; from these weights: --init_from {folder}."
        )


def _describe(found: object, wanted: object) -> Iterator[str]:
    """Yield each difference in a few words; digests are not shown."""
    for difference in differences(found, _without_new_defaults(found, wanted)):
        name, _, values = difference.partition(" is ")
        yield f"{name.removesuffix('.digest')} differs" if name.endswith("digest") else f"{name} is {values[:60]}"


def _without_new_defaults(found: object, wanted: object) -> object:
    """Return what is wanted without the fields that are empty, 0 or False and that an older version did not have."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return wanted
    return {
        name: _without_new_defaults(found.get(name), value) for name, value in wanted.items() if name in found or value
    }


def _join(others: list[str]) -> str:
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return ", ".join(others[:NAMED]) + more


def _compact(value: Any) -> Any:
    """Return the value with a digest for each list, and each mapping of numbers, that is too long to be read."""
    if isinstance(value, dict) and not all(key.isdigit() for key in value):
        return {key: _compact(one) for key, one in value.items()}
    if isinstance(value, dict | list) and len(json.dumps(value)) > MAX_CHARACTERS:
        return {"digest": hash_json(value)}
    return value


def _values_of(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the fields of a configuration and of those inside it, without what transformers adds to every one."""
    values = {name: value for name, value in config.to_dict().items() if name not in OF_EVERY_MODEL}
    inner = {name: getattr(config, name, None) for name in values}
    return values | {name: _values_of(one) for name, one in inner.items() if isinstance(one, PreTrainedConfig)}


__all__ = ["IDENTITY", "Identity", "describe_run", "refuse_other_run", "write_identity"]
