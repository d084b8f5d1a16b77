from .configuration_mlmm import MLMMConfig
from .masked_lm_mlmm import MLMMForMaskedLM
from .modeling_mlmm import MLMMModel, MLMMModelOutput
from .original_checkpoint_mlmm import LoadedOriginal, config_of_original, load_original_checkpoint
from .pretraining_mlmm import MLMMForPreTraining, MLMMForPreTrainingOutput
from .retrieval_mlmm import MLMMForImageTextRetrieval, MLMMForImageTextRetrievalOutput
from .vqa_mlmm import MLMMForVisualQuestionAnswering, MLMMForVisualQuestionAnsweringOutput

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
