import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.modeling_region_detector.configuration_region_detector import REGION_DETECTOR_VARIANTS

import wenlan  # noqa: F401  makes the Auto classes know the detector


@pytest.mark.parametrize("variant", REGION_DETECTOR_VARIANTS)
def test_saved_and_loaded_is_the_same(variant, tmp_path):
    config = RegionDetectorConfig.from_variant(variant)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    names = RegionDetectorConfig.__annotations__
    as_lists = [str([getattr(c, name) for name in names]).replace("(", "[").replace(")", "]") for c in (config, loaded)]
    assert as_lists[0].replace(",]", "]") == as_lists[1]
    assert loaded.id2label == config.id2label


def test_labels_follow_the_number_of_objects():
    assert len(RegionDetectorConfig(num_objects=5).id2label) == 5


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}, ["a", "b"]),
        ({"label2id": {"a": 0}, "id2label": {"0": "a"}}, ["a"]),
        ({"id2label": {0: "a", 1: "b", 2: "c", 3: "d"}}, ["a", "b", "c", "d"]),
        ({"num_labels": 2}, ["LABEL_0", "LABEL_1"]),
        ({"num_objects": 2}, ["LABEL_0", "LABEL_1"]),
        ({"num_labels": 3}, ["x", "y", "z"]),
    ],
)
def test_classes_given_to_from_pretrained_are_right_everywhere(given, names, tmp_path):
    RegionDetectorConfig(id2label={0: "x", 1: "y", 2: "z"}).save_pretrained(tmp_path)
    config = RegionDetectorConfig.from_pretrained(tmp_path, **given)
    assert config.num_objects == config.num_labels == len(names)
    assert config.id2label == dict(enumerate(names))
    assert config.label2id == {name: index for index, name in enumerate(names)}
    config.save_pretrained(tmp_path)
    assert RegionDetectorConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    assert config.to_dict()["num_objects"] == len(names)  # older versions read it


@pytest.mark.parametrize("given", [{"id2label": {0: "a"}}, {"num_labels": 1}])
@pytest.mark.parametrize("variant", REGION_DETECTOR_VARIANTS)
def test_own_classes_go_before_the_number_of_a_variant(variant, given):
    assert RegionDetectorConfig.from_variant(variant, given).num_objects == 1


def test_given_labels_go_both_ways(tmp_path):
    config = RegionDetectorConfig(num_objects=2, id2label={0: "cat", 1: "dog"})
    config.save_pretrained(tmp_path)
    loaded = RegionDetectorConfig.from_pretrained(tmp_path)
    assert loaded.id2label == {0: "cat", 1: "dog"}
    assert loaded.label2id == {"cat": 0, "dog": 1}


def test_background_is_first_or_last():
    assert RegionDetectorConfig.from_variant("bua").background_index == 0
    assert RegionDetectorConfig.from_variant("lxmert").background_index == 1600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "conv"}, "must be one of res5, fc"),
        ({"region_boxes": "all"}, "must be one of proposals"),
        ({"depth": 152}, "50 or 101"),
        ({"backbone": "tf_efficientnet_lite0"}, "use head='fc'"),
        ({"backbone": "tf_efficientnet_lite0", "head": "fc"}, "timm_out_indices"),
        ({"fpn_channels": 8}, "use head='fc'"),
        ({"anchor_sizes": [[4], [8]]}, "without fpn_channels there is one"),
        ({"fpn_channels": 8, "head": "fc", "anchor_sizes": [[4, 8], [16]]}, "equally many anchors"),
        ({"id2label": {0: "cat"}, "num_objects": 3}, "1 names for num_objects=3"),
        ({"id2label": {1: "cat", 2: "dog"}}, "must name the classes 0 to 1"),
        ({"num_objects": "3"}, "num_objects is '3'"),
        ({"num_labels": -1}, "num_labels is '-1'"),
        ({"attribute_names": ["red"]}, "1 names for num_attributes=400"),
        ({"depth": "deep"}, "depth"),
    ],
)
def test_a_bad_configuration_says_what_is_wrong(changes, message):
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        RegionDetectorConfig.from_variant("bua", changes)


def test_an_unknown_variant_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'bua'"):
        RegionDetectorConfig.from_variant("buaa")
