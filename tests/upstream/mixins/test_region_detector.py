"""The region detector in transformers' common model tests: `make test-upstream`."""

import unittest

import torch
from helpers.regions.tiny_detector import tiny_detector
from helpers.upstream import ModelTester, load_mixin
from wenlan.modeling_region_detector import RegionDetector

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")


class TimmRegionDetectorTest(ModelTesterMixin, unittest.TestCase):
    kind = "timm"
    all_model_classes = (RegionDetector,)
    test_resize_embeddings = False
    has_attentions = False

    def setUp(self) -> None:
        config = tiny_detector(self.kind).config

        def inputs() -> dict:
            return {"pixel_values": torch.rand(3, 3, 64, 96)}

        self.model_tester = ModelTester(lambda: type(config).from_dict(config.to_dict()), inputs)


class BuaRegionDetectorTest(TimmRegionDetectorTest):
    kind = "bua"
