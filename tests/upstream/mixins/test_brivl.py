"""BriVL's models in transformers' common model tests: `make test-upstream`."""

import copy
import unittest

import torch
from helpers.brivl.tiny import TEXT_LENGTH, VOCABULARY, images, texts, tiny_config
from helpers.upstream import ModelTester, load_mixin
from torch import nn
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, BriVLTextModel, BriVLVisionModel

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 20, "seq_length": TEXT_LENGTH}


def pair_inputs() -> dict:
    mask = torch.ones(3, TEXT_LENGTH, dtype=torch.long)
    return {"input_ids": texts(3, TEXT_LENGTH), "attention_mask": mask, "pixel_values": images(3), "return_loss": True}


class BriVLModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLModel,)
    _is_composite = True
    has_attentions = False
    test_can_init_all_missing_weights_before_2023 = True  # or else the test is left out

    def setUp(self) -> None:
        self.model_tester = ModelTester(tiny_config, pair_inputs, vocab_size=VOCABULARY, **SIZES)

    @unittest.skip("States are those of the towers, which have the test themselves, as those of CLIP.")
    def test_hidden_states_output(self) -> None: ...

    @unittest.skip("States are those of the towers, which have the test themselves, as those of CLIP.")
    def test_retain_grad_hidden_states_attentions(self) -> None: ...


class BriVLForPreTrainingTest(BriVLModelTest):
    all_model_classes = (BriVLForPreTraining,)


class BriVLTextModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLTextModel,)
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self) -> None:
        def inputs() -> dict:
            return {"input_ids": texts(3, TEXT_LENGTH)}

        # A tower has no loss to train with.
        self.model_tester = ModelTester(lambda: tiny_config().text_config, inputs, is_training=False, **SIZES)


class BriVLVisionModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLVisionModel,)
    test_can_init_all_missing_weights_before_2023 = True
    test_resize_embeddings = False

    def setUp(self) -> None:
        def inputs() -> dict:
            return {"pixel_values": images(3)}

        sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "seq_length": 5}
        self.model_tester = ModelTester(lambda: tiny_config().vision_config, inputs, is_training=False, **sizes)

    @unittest.expectedFailure  # timm draws the weights of its models itself
    def test_can_init_all_missing_weights(self) -> None:
        super().test_can_init_all_missing_weights()

    def test_model_get_set_embeddings(self) -> None:
        """Images are embedded by a convolution, which the towers of CLIP return too."""
        model = BriVLVisionModel(copy.deepcopy(self.model_tester.get_config()))
        assert isinstance(model.get_input_embeddings(), nn.Conv2d)
        new = nn.Conv2d(3, 8, 3)
        model.set_input_embeddings(new)
        assert model.get_input_embeddings() is new
