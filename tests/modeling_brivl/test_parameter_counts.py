"""The towers at full size have the parameters that were counted on the original classes, in millions.

The original also holds, unused and frozen, the CNN's ImageNet classifier and BERT's pooler; the towers here do not.
"""

import pytest
import torch
from wenlan.modeling_brivl import BriVLConfig, BriVLForPreTraining, BriVLModel

COUNTS = {"1.0": (141_675_056, 129_504_256), "nmi": (141_675_056, 129_504_256), "2.0": (230_356_432, 367_252_480)}
ORIGINAL_MILLIONS = {"1.0": (143.7, 130.1), "nmi": (143.7, 130.1), "2.0": (232.9, 368.3)}
TRAINABLE = {"1.0": (140_163_280, 56_178_688), "2.0": (227_730_644, 93_164_544)}
ORIGINAL_TRAINABLE_MILLIONS = {"1.0": (140.2, 56.2), "2.0": (227.7, 93.2)}
# stem and stages 0-2 of the CNN; embeddings (21642 rows of 768, LayerNorm) and 8 of the 12 layers of BERT
TRUNK = {"1.0": (459_104, 21_642 * 768 + 2 * 768 + 8 * 7_087_872)}
STAGES = [f"blocks.{stage}" for stage in (3, 4, 5, 6)]
LAYERS = {"1.0": [f"layer.{i}" for i in range(8, 12)], "2.0": [f"layer.{i}" for i in range(20, 24)]}


def build(variant, trainable=False, model=BriVLModel):
    overrides = {}
    if trainable:
        overrides = {
            "vision_config": {"trainable_backbone": STAGES},
            "text_config": {"trainable_backbone": LAYERS[variant]},
        }
    with torch.device("meta"):
        return model(BriVLConfig.from_variant(variant, overrides))


def count(module, trainable_only=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable_only)


def unused_in_the_original(config):
    """Returns the parameters of the classifier of 1000 classes, and of BERT's pooler."""
    features, hidden = config.vision_config.hidden_size, config.text_config.encoder_config.hidden_size
    return features * 1000 + 1000, hidden * hidden + hidden


@pytest.mark.parametrize("variant", COUNTS)
def test_towers_have_exactly_these_parameters(variant):
    model = build(variant)
    assert (count(model.vision_model), count(model.text_model)) == COUNTS[variant]
    assert count(model) == sum(COUNTS[variant])


@pytest.mark.parametrize("variant", COUNTS)
def test_parameters_with_the_unused_ones_are_those_of_the_original(variant):
    unused = unused_in_the_original(BriVLConfig.from_variant(variant))
    millions = tuple(round((own + extra) / 1e6, 1) for own, extra in zip(COUNTS[variant], unused, strict=True))
    assert millions == ORIGINAL_MILLIONS[variant]


@pytest.mark.parametrize("variant", TRAINABLE)
def test_trainable_parameters_are_those_of_the_original(variant):
    model = build(variant, trainable=True)
    counts = count(model.vision_model, trainable_only=True), count(model.text_model, trainable_only=True)
    assert counts == TRAINABLE[variant]
    assert tuple(round(number / 1e6, 1) for number in counts) == ORIGINAL_TRAINABLE_MILLIONS[variant]


def test_pre_training_holds_the_frozen_trunk_once_the_rest_twice_and_trains_it_once():
    model = build("1.0", trainable=True, model=BriVLForPreTraining)
    assert count(model) == 2 * sum(COUNTS["1.0"]) - sum(TRUNK["1.0"])
    assert count(model, trainable_only=True) == sum(TRAINABLE["1.0"])
    assert model.queue.image_keys.shape == (9600, 2048)
