"""MLMM's models in transformers' common model tests: `make test-upstream`."""

import unittest

from helpers.mlmm.tiny import labels_for, tiny_batch, tiny_config
from helpers.upstream import ModelTester, load_mixin
from wenlan.modeling_mlmm import (
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)

ModelTesterMixin = load_mixin("test_modeling_common", "ModelTesterMixin")


class MLMMForPreTrainingTest(ModelTesterMixin, unittest.TestCase):
    test_can_init_all_missing_weights_before_2023 = True  # or else the test is left out
    all_model_classes = (MLMMForPreTraining,)

    def setUp(self) -> None:
        sizes = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24, "seq_length": 13}
        self.model_tester = ModelTester(tiny_config, tiny_batch, **sizes)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False) -> dict:
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        return inputs | labels_for(model_class) if return_labels else inputs


class MLMMForImageTextRetrievalTest(MLMMForPreTrainingTest):
    all_model_classes = (MLMMForImageTextRetrieval,)


class MLMMForVisualQuestionAnsweringTest(MLMMForPreTrainingTest):
    all_model_classes = (MLMMForVisualQuestionAnswering,)


class MLMMForMaskedLMTest(MLMMForPreTrainingTest):
    all_model_classes = (MLMMForMaskedLM,)


class MLMMModelTest(MLMMForPreTrainingTest):
    all_model_classes = (MLMMModel,)

    def setUp(self) -> None:
        super().setUp()
        self.model_tester.is_training = False  # it has no loss
