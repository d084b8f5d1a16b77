import pytest
import torch
from helpers.regions.golden import golden_detector, read_config, read_weights
from wenlan.modeling_region_detector import RegionDetector, RegionDetectorConfig
from wenlan.modeling_region_detector.rpn import caffe_cell_anchors, detectron2_cell_anchors
from wenlan.processing.regions.detectron2_interop.checkpoint import convert_detectron2_checkpoint, sizes_of

CASES = ("bua", "d2_c4", "d2_fpn")
CELL_ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
PREDICTOR = "roi_heads.box_predictor."


def convert(case, weights=None, cfg=None):
    weights = read_weights(case) if weights is None else weights
    return convert_detectron2_checkpoint(weights, case.replace("_", "-"), cfg)


@pytest.mark.parametrize("case", CASES)
def test_every_weight_gets_to_the_model_that_gives_the_golden_tensors(case):
    converted = convert(case, cfg=read_config(case)["cfg"])
    expected = golden_detector(case)
    RegionDetector(converted.config).load_state_dict(converted.state)
    state = expected.state_dict()
    assert converted.state.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in converted.state.items())


@pytest.mark.parametrize("case", CASES)
def test_sizes_are_those_of_the_weights_without_a_configuration(case):
    ours = convert(case).config
    stated = convert(case, cfg=read_config(case)["cfg"]).config
    for name in ("depth", "stem_channels", "bottleneck_channels", "res2_channels", "num_objects", "num_attributes"):
        assert getattr(ours, name) == getattr(stated, name), name
    assert (ours.fpn_channels, ours.feature_dim) == (stated.fpn_channels, stated.feature_dim)


def test_what_is_left_out_is_counted():
    assert convert("bua").dropped == {"batch counters": 53, "cell anchors": 1}
    masks = {"roi_heads.mask_head.deconv.weight": torch.zeros(1), "pixel_mean": torch.zeros(3, 1, 1)}
    dropped = convert("d2_fpn", read_weights("d2_fpn") | masks).dropped
    assert dropped == {"mask head": 1, "pixel mean and std": 1}


def test_anchors_of_a_caffe_checkpoint_are_used():
    weights = read_weights("bua")
    assert convert("bua").config.cell_anchors == [caffe_cell_anchors([4, 8, 16, 32], [0.5, 1, 2]).tolist()]
    weights[CELL_ANCHORS] = weights[CELL_ANCHORS] + 1.5
    assert convert("bua", weights).config.cell_anchors == [weights[CELL_ANCHORS].tolist()]


def test_caffe_checkpoint_without_anchors_gets_the_table_of_caffe():
    weights = read_weights("bua")
    del weights[CELL_ANCHORS]
    assert convert("bua", weights).config.cell_anchors is None


@pytest.mark.parametrize("anchors", [torch.zeros(12, 3), torch.full((12, 4), float("nan"))])
def test_anchors_that_are_no_boxes_are_refused(anchors):
    with pytest.raises(ValueError, match="are no boxes"):
        convert("bua", read_weights("bua") | {CELL_ANCHORS: anchors})


def test_anchors_of_a_detectron2_checkpoint_must_be_those_of_the_configuration():
    anchors = detectron2_cell_anchors([32, 64, 128, 256, 512], [0.5, 1, 2])
    assert convert("d2_c4", read_weights("d2_c4") | {CELL_ANCHORS: anchors}).config.cell_anchors is None
    with pytest.raises(ValueError, match=r"The anchors in the checkpoint.*pass --config"):
        convert("d2_c4", read_weights("d2_c4") | {CELL_ANCHORS: anchors / 2})


def lxmert_weights():
    """A tiny detector of LXMERT's: other names of the attribute head, anchors among the weights."""
    changes = {"depth": 50, "stem_channels": 4, "bottleneck_channels": 4, "res2_channels": 16, "num_objects": 6}
    changes |= {"num_attributes": 5, "attribute_embedding_dim": 3, "attribute_hidden_dim": 7, "rpn_channels": 8}
    state = RegionDetector(RegionDetectorConfig.from_variant("lxmert", changes)).state_dict()
    theirs = {"cls_embed.": "cls_embedding.", "attr_linear1.": "fc_attr.", "attr_linear2.": "attr_score."}
    weights = {CELL_ANCHORS: detectron2_cell_anchors([64, 128, 256, 512], [0.5, 1, 2])}
    for name, tensor in state.items():
        for ours, renamed in theirs.items():
            name = name.replace(PREDICTOR + ours, PREDICTOR + renamed)
        weights[name] = tensor
    return weights, state


def test_names_of_the_lxmert_detector_become_ours():
    weights, state = lxmert_weights()
    cfg = {"ROI_BOX_HEAD": {"ATTR": True, "NUM_ATTRS": 5}}
    converted = convert_detectron2_checkpoint(weights, "lxmert", cfg)
    assert any("fc_attr" in name for name in weights)
    assert converted.state.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in converted.state.items())
    assert (converted.config.num_attributes, converted.config.attribute_hidden_dim) == (5, 7)


def test_attribute_under_both_names_is_named():
    weights, _ = lxmert_weights()
    weights[f"{PREDICTOR}attr_linear1.weight"] = weights[f"{PREDICTOR}fc_attr.weight"]
    with pytest.raises(ValueError, match=r"twice: .*attr"):
        convert_detectron2_checkpoint(weights, "lxmert", {"ROI_BOX_HEAD": {"ATTR": True}})


def test_all_misfits_are_in_one_message():
    weights = read_weights("d2_c4")
    del weights["backbone.res3.1.conv2.weight"]
    weights["roi_heads.extra"] = torch.zeros(3)
    weights[f"{PREDICTOR}bbox_pred.bias"] = torch.zeros(32)
    with pytest.raises(ValueError, match=r"(?s)unknown: roi_heads\.extra \(3,\).*missing: .*res3.*bbox_pred\.bias is"):
        convert("d2_c4", weights)


@pytest.mark.parametrize(
    ("case", "preset", "message"),
    [
        ("bua", "d2-c4", r"The anchors in the checkpoint"),
        ("d2_c4", "bua", r"does not fit the preset 'bua'(.|\n)*objectness_logits"),
        ("d2_fpn", "d2-c4", "has a feature pyramid, .*--preset d2-fpn"),
        ("d2_c4", "d2-fpn", "has no feature pyramid, .*--preset d2-c4"),
    ],
)
def test_wrong_preset_is_noticed(case, preset, message):
    with pytest.raises(ValueError, match=message):
        convert_detectron2_checkpoint(read_weights(case), preset)


def test_configuration_of_other_sizes_than_the_weights_is_refused():
    cfg = {"MODEL": {"ROI_HEADS": {"NUM_CLASSES": 9}}}
    with pytest.raises(ValueError, match=r"cls_score\.weight is \(8, 128\), the configuration says \(10, 128\)"):
        convert("d2_c4", cfg=cfg)


FOREIGN = {
    "caffe2": (["conv1_w", "res2_0_branch2a_w"], "caffe2's names"),
    "ImageNet": (["res_conv1_bn_s", "res2_0_branch1_w"], "caffe2's names"),
    "VinVL": (["backbone.body.stem.conv1.weight", "roi_heads.box.predictor.cls_score.weight"], "maskrcnn-benchmark"),
    "R-152": (["backbone.res2.0.norm.weight", f"{PREDICTOR}cls_score.weight"], "R-152"),
    "R-152 by its depth": (["backbone.res4.35.conv1.weight"], "R-152"),
    "Cascade": (["roi_heads.box_predictor.0.cls_score.weight"], "Cascade R-CNN"),
    "RetinaNet": (["head.cls_subnet.0.weight"], "RetinaNet"),
    "something else": (["layer.weight", "layer.bias"], r"begins with layer\.weight, layer\.bias"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_checkpoint_of_another_network_is_refused_by_what_it_is(kind):
    names, message = FOREIGN[kind]
    with pytest.raises(ValueError, match=message):
        convert_detectron2_checkpoint({name: torch.zeros(1) for name in names}, "bua")


def test_unknown_depth_and_grouped_convolutions_are_refused():
    weights = read_weights("d2_c4")
    shallow = {name: tensor for name, tensor in weights.items() if not name.startswith("backbone.res4.5.")}
    with pytest.raises(ValueError, match="has 5 blocks in res4; a ResNet-50 has 6"):
        sizes_of(shallow)
    with pytest.raises(ValueError, match="ResNeXt"):
        sizes_of(weights | {"backbone.res2.0.conv2.weight": torch.zeros(4, 1, 3, 3)})


def test_half_precision_becomes_float32():
    converted = convert("d2_c4", {name: tensor.half() for name, tensor in read_weights("d2_c4").items()})
    assert {tensor.dtype for tensor in converted.state.values()} == {torch.float32}


@pytest.mark.parametrize("depth", [50, 101])
def test_published_sizes_fit(depth):
    with torch.device("meta"):
        state = RegionDetector(RegionDetectorConfig.from_variant("bua", {"depth": depth})).state_dict()
    sizes = sizes_of(state)
    assert (sizes["depth"], sizes["num_objects"], sizes["num_attributes"]) == (depth, 1600, 400)
    assert state[f"{PREDICTOR}bbox_pred.weight"].shape == (6404, 2048)
    assert state["proposal_generator.rpn_head.objectness_logits.weight"].shape == (24, 512, 1, 1)
