"""LoRA: low-rank adapters on the text encoder of a BriVL, through peft, so that its own weights stay as they are.

`lora_for_fine_tuning` wraps a `BriVLModel` for the Trainer; the adapter is saved alone, beside an untouched base:

    model = lora_for_fine_tuning(AutoModel.from_pretrained(folder), LoraArguments(lora_rank=8))

`add_text_lora` puts adapters into the query and the momentum text tower of a `BriVLForPreTraining`, and
`merge_text_lora` turns them into plain weights again.

Adapters go only into layers that `text_config.trainable_backbone` trains, hence never into a trunk that query and
momentum tower share; and only into the text encoder: BriVL's own transformer trains whole in pre-training. peft's
`get_peft_model` puts them anywhere.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from ..modeling_brivl.frozen_trunk import is_trainable
from ..modeling_brivl.modeling_brivl import BriVLModel
from ..modeling_brivl.pretraining import BriVLForPreTraining
from ..modeling_brivl.towers import BriVLTextModel
from .option_conflicts import Overrules
from .recipe_options import option

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraLayer

INSTALL = "LoRA needs a further package: pip install 'wenlan[lora]'"


@dataclass
class LoraArguments:
    """Low-rank adapters on the text encoder."""

    lora_rank: int = option(0, "of the adapters on the text encoder; 0: no adapters", low=0)
    lora_alpha: float = option(16, "an adapter's output is scaled by alpha / rank", above=0)
    lora_dropout: float = option(0.0, "on the input of the adapters", low=0, below=1)
    lora_targets: list[str] = option(["query", "value"], "names of the linear layers that get one")

    OVERRULES: ClassVar = (
        Overrules("lora_rank", ("lora_alpha", "lora_dropout", "lora_targets"), lambda rank: rank == 0, "--lora_rank 8"),
    )


def lora_for_fine_tuning(model: BriVLModel, args: LoraArguments, *, train_head: bool = False) -> "PeftModel":
    """Return a model of which only the adapters train; its `save_pretrained` writes them alone.

    The batch norms of the image tower keep their statistics too (the configuration then says so): an adapter does not
    hold them, so that it would not fit the base any more.

    The given model changes in place. With `train_head` the text tower's two last linear layers train as well, and are
    saved with the adapters.

    Raises:
        ImportError: without the extra `lora`.
        ValueError: for settings that leave nothing to adapt.
    """
    config = _lora_config(model.text_model, args, prefix="text_model.backbone.")
    from peft import get_peft_model

    if train_head:
        config.modules_to_save = ["text_model.encoder.fc1", "text_model.encoder.fc2"]
    model.vision_model.config.train_batch_norm = model.vision_model.config.train_frozen_batch_norm = False
    return get_peft_model(model, config)


def add_text_lora(model: BriVLForPreTraining, args: LoraArguments) -> int:
    """Put equal adapters into query and momentum text tower and freeze the encoders around them.

    BriVL's own half of the text tower and the image tower train as before. Do it after the weights are loaded and
    before the Trainer loads a checkpoint. Returns the number of parameters of the query tower's adapters.

    Raises:
        ImportError: without the extra `lora`.
        ValueError: for settings that leave nothing to adapt, or a model that has adapters.
    """
    query_tower, momentum_tower = model.brivl.text_model, model.momentum_text_model
    config = _lora_config(query_tower, args)
    from peft import inject_adapter_in_model

    for tower in (query_tower, momentum_tower):
        inject_adapter_in_model(config, tower.backbone)
    adapters = {name: weight for name, weight in query_tower.state_dict().items() if ".lora_" in name}
    momentum_tower.load_state_dict(adapters, strict=False)
    momentum_tower.requires_grad_(False)
    return sum(weight.numel() for weight in adapters.values())


def merge_text_lora(model: BriVLForPreTraining) -> None:
    """Add the adapters of both text towers to the weights that they adapt; the model then has plain names again.

    Raises:
        ValueError: without adapters, or for one that is not finite.
    """
    for tower in (model.brivl.text_model, model.momentum_text_model):
        layers = _adapted_layers(tower)
        if not layers:
            raise ValueError("The model has no adapters to merge: add_text_lora comes first.")
        for name, layer in layers.items():
            layer.merge(safe_merge=True)
            tower.set_submodule(name, layer.get_base_layer())
        del tower.backbone.peft_config


def _lora_config(text_model: BriVLTextModel, args: LoraArguments, prefix: str = "") -> "LoraConfig":
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(INSTALL) from error

    if args.lora_rank < 1:
        raise ValueError(f"lora_rank must be at least 1, got {args.lora_rank}.")
    if _adapted_layers(text_model):
        raise ValueError("The text tower has adapters already.")
    return LoraConfig(
        r=args.lora_rank,
        lora_alpha=args.lora_alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
        lora_dropout=args.lora_dropout,
        target_modules=[prefix + name for name in _targets(text_model, args.lora_targets)],
    )


def _targets(text_model: BriVLTextModel, targets: list[str]) -> list[str]:
    """Return the names, inside the encoder, of the linear layers to adapt."""
    linear = [name for name, module in text_model.backbone.named_modules() if isinstance(module, nn.Linear)]
    matching = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in targets}
    unknown = [target for target, names in matching.items() if not names]
    if unknown or not targets:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise ValueError(f"lora_targets {unknown} are no linear layers of the text encoder; it has {known}.")
    trainable = text_model.config.trainable_backbone
    found = [name for names in matching.values() for name in names]
    if names := [name for name in found if is_trainable(f"{name}.weight", trainable)]:
        return names
    raise ValueError(
        f"LoRA has nothing to adapt: the text encoder has {len(found)} layers called {' or '.join(targets)}, all "
        f"frozen by text_config.trainable_backbone, which is {trainable}. Set that to null, or to the names of layers, "
        f'such as ["layer.{text_model.backbone.config.num_hidden_layers - 1}"]: in the recipe\'s model_config, or in '
        "config.json of the model that is trained further. Without lora_rank all that is not frozen trains whole."
    )


def _adapted_layers(text_model: BriVLTextModel) -> "dict[str, LoraLayer]":
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in text_model.named_modules() if isinstance(module, LoraLayer)}


__all__ = ["LoraArguments", "add_text_lora", "lora_for_fine_tuning", "merge_text_lora"]
