from .configuration_brivl import BRIVL_VARIANTS, BriVLConfig, BriVLTextConfig, BriVLVisionConfig
from .efficientnet_lite import load_efficientnet_lite
from .late_interaction import late_interaction_scores
from .modeling_brivl import BriVLModel, BriVLOutput
from .momentum_queue_callback import MomentumQueueCallback
from .original_checkpoint import ConvertedCheckpoint, convert_original_checkpoint
from .pretraining import BriVLForPreTraining, BriVLForPreTrainingOutput
from .towers import BriVLTextModel, BriVLVisionModel

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
    "ConvertedCheckpoint",
    "MomentumQueueCallback",
    "convert_original_checkpoint",
    "late_interaction_scores",
    "load_efficientnet_lite",
]
