from .configuration_mlmm import MLMMConfig
from .masked_lm import MLMMForMaskedLM
from .modeling_mlmm import MLMMModel, MLMMModelOutput
from .original_checkpoint import LoadedOriginal, config_of_original, load_original_checkpoint
from .pretraining import MLMMForPreTraining, MLMMForPreTrainingOutput
from .retrieval import MLMMForImageTextRetrieval, MLMMForImageTextRetrievalOutput
from .vqa import MLMMForVisualQuestionAnswering, MLMMForVisualQuestionAnsweringOutput

__all__ = [
    "LoadedOriginal",
    "MLMMConfig",
    "MLMMForImageTextRetrieval",
    "MLMMForImageTextRetrievalOutput",
    "MLMMForMaskedLM",
    "MLMMForPreTraining",
    "MLMMForPreTrainingOutput",
    "MLMMForVisualQuestionAnswering",
    "MLMMForVisualQuestionAnsweringOutput",
    "MLMMModel",
    "MLMMModelOutput",
    "config_of_original",
    "load_original_checkpoint",
]
