"""What a checkpoint lacks, or has in another size: started new and named, or refused, by one rule for all models."""

import logging
from typing import Any

import pytest
import torch
from helpers.brivl import tiny as brivl
from helpers.mlmm import tiny as mlmm
from helpers.perturb import perturb
from helpers.regions.tiny_detector import FEW, TIMM, tiny_detector
from torch import nn
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, BriVLTextModel, BriVLVisionModel
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig

WIDER = {"backbone_kwargs": {"channel_multiplier": 0.25, "pad_type": "same", "bn_eps": 1e-3}}
WIDER_BERT = {"encoder_config": brivl.TINY_BERT | {"hidden_size": 30, "vocab_size": 70}}
MOBILE = TIMM | FEW | {"num_objects": 3, "frozen_backbone": []}


def mobilenet(backbone: str) -> RegionDetectorConfig:
    return RegionDetectorConfig.from_variant("d2-fpn", MOBILE | {"backbone": backbone})


# class, configuration of the checkpoint, configuration with which it is opened
SIZES: dict[str, tuple[Any, Any, Any]] = {
    "image tower": (BriVLVisionModel, brivl.tiny_config().vision_config, brivl.tiny_config(WIDER).vision_config),
    "text tower": (BriVLTextModel, brivl.tiny_config().text_config, brivl.tiny_config(text=WIDER_BERT).text_config),
    "brivl": (BriVLModel, brivl.tiny_config(), brivl.tiny_config(WIDER, WIDER_BERT)),
    "brivl pre-training": (BriVLForPreTraining, brivl.tiny_config(), brivl.tiny_config(WIDER, queue_size=7)),
    "shared trunk": (
        BriVLForPreTraining,
        brivl.tiny_config({"trainable_backbone": ["blocks.3"]}, share_frozen_trunk=True),
        brivl.tiny_config({"trainable_backbone": ["blocks.3"], **WIDER}, share_frozen_trunk=True),
    ),
    "mlmm": (MLMMModel, mlmm.tiny_config(), mlmm.tiny_config(hidden_size=30, region_feature_dim=8)),
    "mlmm pre-training": (MLMMForPreTraining, mlmm.tiny_config(), mlmm.tiny_config(hidden_size=30, vocab_size=70)),
    "classes of regions": (MLMMForPreTraining, mlmm.tiny_config(), mlmm.tiny_config(num_region_classes=4)),
    "retrieval": (MLMMForImageTextRetrieval, mlmm.tiny_config(), mlmm.tiny_config(hidden_size=30)),
    "answers": (MLMMForVisualQuestionAnswering, mlmm.tiny_config(), mlmm.tiny_config(num_labels=2)),
    "masked words": (MLMMForMaskedLM, mlmm.tiny_config(), mlmm.tiny_config(vocab_size=70)),
    "width of timm's model": (RegionDetector, mobilenet("mobilenetv3_small_050"), mobilenet("mobilenetv3_small_075")),
    "objects": (RegionDetector, tiny_detector("bua").config, tiny_detector("bua", num_objects=5).config),
    "width of a resnet": (RegionDetector, tiny_detector("bua").config, tiny_detector("bua", res2_channels=24).config),
    "width of a pyramid": (RegionDetector, tiny_detector("d2-fpn").config, tiny_detector("d2-fpn", fc_dim=8).config),
}


@pytest.fixture
def full_memory(monkeypatch):
    """Memory that transformers takes for weights without a value holds NaN, or a huge number."""
    empty_like = torch.empty_like

    def filled(*args, **kwargs):
        tensor = empty_like(*args, **kwargs)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 2**40)

    monkeypatch.setattr(torch, "empty_like", filled)


@pytest.fixture
def report(caplog, monkeypatch):
    """What transformers has logged."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    return caplog


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def strange(model: nn.Module) -> list[str]:
    """Returns the names of weights that no initialisation gives."""
    return [name for name, tensor in tensors_of(model).items() if not (tensor.abs() < 1e3).all()]


@pytest.mark.parametrize("name", SIZES)
def test_other_sizes_are_refused_or_start_new_where_they_are_ignored(name, full_memory, report, tmp_path):
    model_class, saved_config, config = SIZES[name]
    saved = perturb(model_class(saved_config), scale=0.01)
    saved.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        model_class.from_pretrained(tmp_path, config=config)
    report.clear()
    loaded, info = model_class.from_pretrained(
        tmp_path, config=config, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert strange(loaded) == []
    assert "Reinit due to size mismatch" in report.text
    before, after = saved.state_dict(), loaded.state_dict()
    other = {key for key in after if before[key].shape != after[key].shape}
    assert {key for key, *_ in info["mismatched_keys"]} >= other - set(loaded.all_tied_weights_keys) != set()
    kept = [key for key in after if key not in other and not key.startswith("momentum_")]
    assert [key for key in kept if not torch.equal(before[key], after[key])] == []
    constant = [key for key in other if key.endswith(("conv_pw.weight", "dense.weight")) and not after[key].std() > 0]
    assert constant == []


@pytest.mark.parametrize("name", ["brivl pre-training", "shared trunk"])
def test_momentum_towers_of_another_size_start_from_the_query_towers(name, tmp_path):
    model_class, saved_config, config = SIZES[name]
    perturb(model_class(saved_config)).save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path, config=config, ignore_mismatched_sizes=True)
    query, momentum = loaded.brivl.vision_model.state_dict(), loaded.momentum_vision_model.state_dict()
    assert [key for key in momentum if not torch.equal(momentum[key], query[key])] == []


@pytest.mark.parametrize("name", SIZES)
def test_without_a_checkpoint_all_that_is_not_given_starts_new(name, full_memory):
    model_class, config, _ = SIZES[name]
    given = perturb(model_class(config)).state_dict()
    key = next(iter(given))
    loaded = model_class.from_pretrained(None, config=config, state_dict={key: given[key]})
    assert strange(loaded) == []
    assert torch.equal(loaded.state_dict()[key], given[key])


LACKING = {
    "image tower": "backbone.bn1.running_mean",
    "text tower": "encoder.fc1.bias",
    "brivl": "vision_model.region_projection.weight",
    "brivl pre-training": "brivl.text_model.encoder.fc2.weight",
    "mlmm": "region_embeddings.mask_feature",
    "answers": "mlmm.encoder.layer.0.output.dense.bias",
    "objects": "roi_heads.box_predictor.cls_score.bias",
    "width of a resnet": "backbone.res2.0.conv1.norm.running_var",
    "width of timm's model": "backbone.bottom_up.body.conv_stem.weight",
}


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("name", LACKING)
def test_checkpoint_without_a_weight_of_the_trunk_is_refused(name, ignored, full_memory, tmp_path):
    model_class, config, _ = SIZES[name]
    state = model_class(config).state_dict()
    del state[LACKING[name]]
    model_class(config).save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=f"lacks 1 weights of {model_class.__name__}: {LACKING[name]}"):
        model_class.from_pretrained(tmp_path, ignore_mismatched_sizes=ignored)
    loaded, info = model_class.from_pretrained(tmp_path, output_loading_info=True)  # who asks for it judges himself
    assert LACKING[name] in info["missing_keys"]
    assert strange(loaded) == []


def test_timm_model_of_another_depth_is_refused_even_where_sizes_are_ignored(tmp_path):
    shallow = {"channel_multiplier": 0.125, "depth_multiplier": 1.0, "pad_type": "same", "bn_eps": 1e-3}
    BriVLVisionModel(brivl.tiny_config({"backbone_kwargs": shallow}).vision_config).save_pretrained(tmp_path)
    deep = brivl.tiny_config({"backbone_kwargs": shallow | {"depth_multiplier": 2.0}}).vision_config
    with pytest.raises(ValueError, match=r"lacks \d+ weights of BriVLVisionModel: backbone\.blocks"):
        BriVLVisionModel.from_pretrained(tmp_path, config=deep, ignore_mismatched_sizes=True)


@pytest.mark.parametrize(
    ("base", "head", "config", "changes", "new"),
    [
        (MLMMModel, MLMMForVisualQuestionAnswering, mlmm.tiny_config(), {}, ("vqa_head.",)),
        (MLMMModel, MLMMForVisualQuestionAnswering, mlmm.tiny_config(), {"num_labels": 2}, ("vqa_head.",)),
        (MLMMModel, MLMMForImageTextRetrieval, mlmm.tiny_config(), {}, ("itm_head.", "rank_head.")),
        (MLMMForVisualQuestionAnswering, MLMMForMaskedLM, mlmm.tiny_config(), {}, ("mlm_head.",)),
        (BriVLModel, BriVLForPreTraining, brivl.tiny_config(), {}, ("queue.",)),
        (
            RegionDetector,
            RegionDetector,
            tiny_detector("d2-fpn").config,
            {"num_attributes": 2, "attribute_embedding_dim": 4, "attribute_hidden_dim": 8},
            ("roi_heads.box_predictor.cls_embed.", "roi_heads.box_predictor.attr_linear"),
        ),
    ],
    ids=["answers", "two answers", "retrieval", "masked words", "queue", "attributes"],
)
def test_new_head_starts_new_and_is_reported(base, head, config, changes, new, full_memory, report, tmp_path):
    saved = perturb(base(config), scale=0.01)
    saved.save_pretrained(tmp_path)
    loaded, info = head.from_pretrained(tmp_path, output_loading_info=True, **changes)
    tied = set(loaded.all_tied_weights_keys)
    assert info["missing_keys"] == {key for key in loaded.state_dict() if key.startswith(new)} - tied != set()
    assert strange(loaded) == []
    assert "MISSING" in report.text
    before, prefix = saved.state_dict(), "" if base is head else f"{loaded.base_model_prefix}."
    trunk = {key.removeprefix(prefix): value for key, value in loaded.state_dict().items() if key.startswith(prefix)}
    shared = trunk.keys() & {key.removeprefix(prefix) for key in before}
    assert len(shared) > 10
    assert all(torch.equal(trunk[key], before.get(key, before.get(prefix + key))) for key in shared)
