"""The region detector in transformers' common model tests: `make test-upstream`."""

import unittest

import torch
from helpers.regions.tiny_detector import tiny_detector, tiny_labels
from helpers.upstream import ModelTester, load_mixin
from wenlan.modeling_region_detector import RegionDetector

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")


class TimmRegionDetectorTest(ModelTesterMixin, unittest.TestCase):
    kind = "timm"
    changes = {"backbone": "test_efficientnet"}  # of fewer parameters than the mixin allows
    map_sizes = ((8, 12), (4, 6), (2, 3))
    all_model_classes = (RegionDetector,)
    test_resize_embeddings = False
    has_attentions = False
    test_can_init_all_missing_weights_before_2023 = True  # or else the test is left out

    def setUp(self) -> None:
        # Frozen maps would have no gradient to retain.
        config = tiny_detector(self.kind, frozen_backbone=[], **self.changes).config

        def inputs() -> dict:
            return {"pixel_values": torch.rand(3, 3, 64, 96)}

        height, width = self.map_sizes[0]
        self.model_tester = ModelTester(
            lambda: type(config).from_dict(config.to_dict()),
            inputs,
            expected_num_hidden_layers=len(self.map_sizes),
            num_hidden_layers=1,
            seq_length=height,
            hidden_size=width,
        )

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False) -> dict:
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        return inputs | {"labels": [tiny_labels()[0]] * 3} if return_labels else inputs

    @unittest.expectedFailure  # timm draws the weights of its models itself
    def test_can_init_all_missing_weights(self) -> None:
        super().test_can_init_all_missing_weights()

    @unittest.skip("Images have no token embeddings, as in the detectors of transformers.")
    def test_model_get_set_embeddings(self) -> None: ...


class BuaRegionDetectorTest(TimmRegionDetectorTest):
    kind = "bua"
    test_can_init_all_missing_weights = ModelTesterMixin.test_can_init_all_missing_weights
    changes = {"rpn_batch_size": 4096, "roi_batch_size": 512}  # all of them, so that the loss draws nothing
    map_sizes = ((16, 24), (8, 12), (4, 6))
