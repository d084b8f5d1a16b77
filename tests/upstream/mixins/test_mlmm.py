"""MLMM's models in transformers' common model tests: `make test-upstream`."""

import unittest

from helpers.mlmm.tiny import tiny_batch, tiny_config
from helpers.upstream import ModelTester, load_mixin
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")


class MLMMModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (MLMMModel,)

    def setUp(self) -> None:
        inputs = tiny_batch(lengths=(7, 7, 7), counts=(6, 6, 6))
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24, "seq_length": 13}
        self.model_tester = ModelTester(tiny_config, lambda: dict(inputs), **sizes)


class MLMMForPreTrainingTest(MLMMModelTest):
    all_model_classes = (MLMMForPreTraining,)


class MLMMForImageTextRetrievalTest(MLMMModelTest):
    all_model_classes = (MLMMForImageTextRetrieval,)


class MLMMForVisualQuestionAnsweringTest(MLMMModelTest):
    all_model_classes = (MLMMForVisualQuestionAnswering,)


class MLMMForMaskedLMTest(MLMMModelTest):
    all_model_classes = (MLMMForMaskedLM,)
