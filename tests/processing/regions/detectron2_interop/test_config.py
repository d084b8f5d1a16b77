import pytest
from helpers.regions.golden import read_config
from wenlan.modeling_region_detector import RegionDetectorConfig
from wenlan.processing.regions.detectron2_interop.config import PRESETS, detector_fields, image_changes

# The settings that the HF port of LXMERT's detector reads, in its layout; the numbers are made up.
LXMERT = {
    "MODEL": {"PIXEL_MEAN": [102.9801, 115.9465, 122.7717], "PIXEL_STD": [1.0, 1.0, 1.0], "MAX_POOL": True},
    "INPUT": {"MIN_SIZE_TEST": 800, "MAX_SIZE_TEST": 1333, "FORMAT": "BGR"},
    "RESNETS": {"DEPTH": 101, "STRIDE_IN_1X1": False, "NORM": "BN"},
    "PROPOSAL_GENERATOR": {"HIDDEN_CHANNELS": 512, "MIN_SIZE": 0},
    "ROI_HEADS": {"NAME": "Res5ROIHeads", "NUM_CLASSES": 1600, "NMS_THRESH_TEST": [0.4, 0.6]},
    "ROI_BOX_HEAD": {
        "BBOX_REG_WEIGHTS": [20.0, 20.0, 5.0, 5.0],
        "RES5HALVE": False,
        "ATTR": True,
        "NUM_ATTRS": 400,
        "POOLER_TYPE": "ROIPool",
    },
}


def setting(path, value):
    """A configuration of one setting."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize("preset", ["bua", "d2-c4", "d2-fpn"])
def test_without_a_configuration_everything_is_the_presets(preset):
    assert detector_fields(preset, {}) == {}
    assert image_changes(preset, {}) == {}


def test_lxmert_without_its_configuration_is_refused():
    with pytest.raises(ValueError, match="lxmert needs --config"):
        detector_fields("lxmert", {})


@pytest.mark.parametrize("preset", ["d2", "BUA", ""])
def test_unknown_preset_is_refused(preset):
    with pytest.raises(ValueError, match=f"Unknown preset '{preset}'; there are bua, d2-c4, d2-fpn, lxmert"):
        detector_fields(preset, {})


def test_bua_counts_the_background_and_ours_does_not():
    fields = detector_fields("bua", read_config("bua")["cfg"])
    assert (fields["num_objects"], fields["num_attributes"]) == (8, 5)


def test_whole_configuration_of_bua_is_read():
    fields = detector_fields("bua", read_config("bua")["cfg"])
    config = RegionDetectorConfig.from_variant("bua", fields)
    assert (config.depth, config.stride_in_1x1, config.rpn_channels) == (50, True, 32)
    assert (config.pre_nms_top_n, config.post_nms_top_n, config.min_proposal_size) == (200, 40, 16.0)
    assert (config.box_weights, config.selection_nms_threshold) == ([1.0] * 4, 0.3)
    assert config.frozen_backbone == ["stem", "res2", "res3"]
    assert config.anchor_sizes == [[4, 8, 16, 32]]


@pytest.mark.parametrize(("mode", "region_boxes"), [(1, "proposals"), (2, "refined"), (3, "proposals")])
def test_mode_of_the_bua_extractor_is_the_choice_of_boxes(mode, region_boxes):
    assert detector_fields("bua", setting("MODEL.BUA.EXTRACTOR.MODE", mode))["region_boxes"] == region_boxes


def test_bua_without_attributes_has_none():
    assert detector_fields("bua", setting("MODEL.BUA.ATTRIBUTE_ON", False))["num_attributes"] == 0


@pytest.mark.parametrize("preset", ["d2-c4", "d2-fpn"])
def test_stride_in_the_3x3_convolution_and_the_scale_of_pixels_are_those_of_the_file(preset):
    cfg = {"MODEL": {"RESNETS": {"STRIDE_IN_1X1": False}, "PIXEL_STD": [57.375, 57.12, 58.395]}}
    assert detector_fields(preset, cfg) == {"stride_in_1x1": False}
    assert image_changes(preset, cfg) == {"image_std": [57.375, 57.12, 58.395]}


def test_images_are_prepared_as_the_file_says():
    assert image_changes("d2-c4", read_config("d2_c4")["cfg"]) == {
        "size": {"shortest_edge": 160, "longest_edge": 213},
        "image_mean": [103.53, 116.28, 123.675],
        "image_std": [1.0, 1.0, 1.0],
        "do_flip_channel_order": True,
        "nms_threshold": 0.5,
    }
    assert image_changes("d2-c4", setting("INPUT.FORMAT", "RGB")) == {"do_flip_channel_order": False}


def test_bua_prepares_images_its_own_way_whatever_the_file_says():
    assert image_changes("bua", setting("INPUT.MIN_SIZE_TEST", 160)) == {}


def test_pyramid_and_its_head_count_only_where_they_are_used():
    cfg = read_config("d2_c4")["cfg"]
    assert cfg["MODEL"]["FPN"]["OUT_CHANNELS"] == 16
    assert {"fpn_channels", "fc_dim", "num_fc"}.isdisjoint(detector_fields("d2-c4", cfg))
    assert detector_fields("d2-fpn", read_config("d2_fpn")["cfg"])["fpn_channels"] == 16


def test_sections_of_the_lxmert_port_are_found_at_the_top():
    fields = detector_fields("lxmert", LXMERT)
    assert (fields["num_objects"], fields["num_attributes"], fields["rpn_channels"]) == (1600, 400, 512)
    assert (fields["box_weights"], fields["stride_in_1x1"]) == ([20.0, 20.0, 5.0, 5.0], False)
    assert fields["selection_nms_threshold"] == 0.4
    changes = image_changes("lxmert", LXMERT)
    assert (changes["size"], changes["nms_threshold"]) == ({"shortest_edge": 800, "longest_edge": 1333}, 0.4)


@pytest.mark.parametrize("cfg", [setting("MODEL.BUA.RESNET_VERSION", 2), setting("MODEL.RESNETS.DEPTH", 152)])
def test_r152_of_bottom_up_attention_is_refused(cfg):
    with pytest.raises(ValueError, match=r"R-152 .* another network .* Use the R-101"):
        detector_fields("bua", cfg)


@pytest.mark.parametrize(
    ("preset", "path", "value"),
    [
        ("d2-c4", "MODEL.META_ARCHITECTURE", "RetinaNet"),
        ("d2-c4", "MODEL.RESNETS.NUM_GROUPS", 32),
        ("d2-c4", "MODEL.RESNETS.NORM", "GN"),
        ("d2-c4", "MODEL.RESNETS.DEPTH", 152),
        ("d2-fpn", "MODEL.RESNETS.DEFORM_ON_PER_STAGE", [False, True, True, True]),
        ("d2-fpn", "MODEL.RESNETS.RES5_DILATION", 2),
        ("d2-fpn", "MODEL.FPN.NORM", "GN"),
        ("d2-c4", "MODEL.ANCHOR_GENERATOR.OFFSET", 0.5),
        ("d2-c4", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5], [1.0]]),
        ("d2-c4", "MODEL.RPN.BBOX_REG_WEIGHTS", [2.0, 1.0, 1.0, 1.0]),
        ("d2-c4", "MODEL.RPN.CONV_DIMS", [256, 256]),
        ("d2-c4", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 16),
        ("d2-fpn", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
        ("d2-fpn", "MODEL.ROI_BOX_HEAD.NUM_CONV", 4),
        ("d2-fpn", "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("d2-fpn", "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlign"),
        ("d2-fpn", "MODEL.ROI_HEADS.NAME", "CascadeROIHeads"),
        ("d2-fpn", "MODEL.ROI_HEADS.NAME", "Res5ROIHeads"),
        ("d2-c4", "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
        ("bua", "MODEL.ROI_HEADS.NAME", "AttributeRes5ROIHeads"),
        ("bua", "MODEL.BUA.CAFFE", False),
        ("bua", "MODEL.RESNETS.RES5_DILATION", 1),
        ("lxmert", "MODEL.MAX_POOL", False),
        ("lxmert", "ROI_BOX_HEAD.RES5HALVE", True),
    ],
)
def test_setting_that_would_change_the_result_is_refused_by_name(preset, path, value):
    name = "MODEL.ROI_BOX_HEAD.RES5HALVE" if path == "ROI_BOX_HEAD.RES5HALVE" else path
    with pytest.raises(ValueError, match=name):
        detector_fields(preset, setting(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("MODEL", [1]),
        ("MODEL.RPN.CONV_DIMS", 3),
        ("MODEL.BUA.EXTRACTOR.MODE", 7),
        ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", []),
        ("MODEL.BACKBONE.FREEZE_AT", "two"),
    ],
)
def test_setting_of_another_form_is_a_short_error(path, value):
    with pytest.raises(ValueError, match="has another form than in detectron2"):
        detector_fields("bua", setting(path, value))


def test_all_reasons_are_in_one_message():
    cfg = {"MODEL": {"RESNETS": {"NUM_GROUPS": 32, "NORM": "GN"}}}
    with pytest.raises(ValueError, match=r"NUM_GROUPS is 32, not 1\n.*NORM is 'GN', not 'BN' or"):
        detector_fields("d2-c4", cfg)


def test_presets_are_the_variants_of_the_configuration():
    assert all(RegionDetectorConfig.from_variant(preset) for preset in PRESETS)
