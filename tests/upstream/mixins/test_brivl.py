"""BriVL's models in transformers' common model tests: `make test-upstream`."""

import unittest

from helpers.brivl.tiny import TEXT_LENGTH, VOCABULARY, images, texts, tiny_config
from helpers.upstream import ModelTester, load_mixin
from wenlan.modeling_brivl import BriVLForPreTraining, BriVLModel, BriVLTextModel, BriVLVisionModel

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 20, "seq_length": TEXT_LENGTH}


def pair_inputs() -> dict:
    return {"input_ids": texts(3, TEXT_LENGTH), "pixel_values": images(3)}


class BriVLModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLModel,)
    _is_composite = True
    has_attentions = False

    def setUp(self) -> None:
        self.model_tester = ModelTester(tiny_config, pair_inputs, vocab_size=VOCABULARY, **SIZES)


class BriVLForPreTrainingTest(BriVLModelTest):
    all_model_classes = (BriVLForPreTraining,)


class BriVLTextModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLTextModel,)

    def setUp(self) -> None:
        def inputs() -> dict:
            return {"input_ids": texts(3, TEXT_LENGTH)}

        self.model_tester = ModelTester(lambda: tiny_config().text_config, inputs, **SIZES)


class BriVLVisionModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BriVLVisionModel,)
    test_resize_embeddings = False

    def setUp(self) -> None:
        def inputs() -> dict:
            return {"pixel_values": images(3)}

        sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "seq_length": 5}
        self.model_tester = ModelTester(lambda: tiny_config().vision_config, inputs, **sizes)
