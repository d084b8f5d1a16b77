"""BriVL in transformers: configuration, models, momentum queue."""

from .configuration_brivl import BRIVL_VARIANTS, BriVLConfig, BriVLTextConfig, BriVLVisionConfig
from .modeling_brivl import BriVLModel, BriVLOutput, BriVLTextModel, BriVLVisionModel
from .momentum_queue import MomentumQueueCallback
from .pretraining_brivl import BriVLForPreTraining, BriVLForPreTrainingOutput

__all__ = [
    "BRIVL_VARIANTS",
    "BriVLConfig",
    "BriVLForPreTraining",
    "BriVLForPreTrainingOutput",
    "BriVLModel",
    "BriVLOutput",
    "BriVLTextConfig",
    "BriVLTextModel",
    "BriVLVisionConfig",
    "BriVLVisionModel",
    "MomentumQueueCallback",
]
