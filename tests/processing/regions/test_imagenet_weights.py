import pytest
import timm
import torch
from torch.testing import assert_close
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig
from wenlan.processing.regions.imagenet_weights import load_imagenet_resnet

SMALL = {
    "depth": 50,
    "num_objects": 2,
    "num_attributes": 0,
    "stride_in_1x1": False,
    "caffe_stem_pool": False,
    "rpn_channels": 8,
}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    model = timm.create_model("resnet50.tv_in1k", pretrained=False).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    return model


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("d2-c4", {}),
        ("d2-fpn", {"fpn_channels": 8, "fc_dim": 8}),
    ],
)
@torch.inference_mode()
def test_feature_maps_are_those_of_the_resnet(resnet, variant, changes):
    model = RegionDetector(RegionDetectorConfig.from_variant(variant, SMALL | changes)).eval()
    load_imagenet_resnet(model, resnet.state_dict())
    x = torch.randn(1, 3, 64, 96)
    *maps, last = resnet.forward_intermediates(x, indices=[1, 2, 3, 4], intermediates_only=True)
    ours = getattr(model.backbone, "bottom_up", model.backbone)(x)
    for a, b in zip(ours, [*maps, last], strict=False):
        assert_close(a, b, rtol=1e-3, atol=1e-3)
    if variant == "d2-c4":
        assert_close(model.roi_heads.res5(ours[-1]), last, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"depth": 101}, r"backbone\.res4\.10\.conv1"), ({"stem_channels": 32}, "of another shape")],
)
def test_other_network_is_refused(resnet, changes, message):
    with torch.device("meta"):
        model = RegionDetector(RegionDetectorConfig.from_variant("d2-c4", SMALL | changes))
    with pytest.raises(ValueError, match=message):
        load_imagenet_resnet(model, resnet.state_dict())
