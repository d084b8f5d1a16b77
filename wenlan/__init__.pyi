from .data import load_emoji7, read_pairs
from .modeling_brivl import (
    BriVLConfig,
    BriVLForPreTraining,
    BriVLModel,
    BriVLTextConfig,
    BriVLTextModel,
    BriVLVisionConfig,
    BriVLVisionModel,
    MomentumQueueCallback,
)
from .modeling_mlmm import (
    MLMMConfig,
    MLMMForImageTextRetrieval,
    MLMMForMaskedLM,
    MLMMForPreTraining,
    MLMMForVisualQuestionAnswering,
    MLMMModel,
)
from .modeling_region_detector import RegionDetector, RegionDetectorConfig, RegionImageProcessor
from .processing import BriVLImageProcessor, BriVLProcessor, ContrastiveCollator, MLMMProcessor
from .processing.regions import RegionFeatureExtractor, RegionOutput

__version__: str

__all__ = [
    "BriVLConfig",
    "BriVLForPreTraining",
    "BriVLImageProcessor",
    "BriVLModel",
    "BriVLProcessor",
    "BriVLTextConfig",
    "BriVLTextModel",
    "BriVLVisionConfig",
    "BriVLVisionModel",
    "ContrastiveCollator",
    "MLMMConfig",
    "MLMMForImageTextRetrieval",
    "MLMMForMaskedLM",
    "MLMMForPreTraining",
    "MLMMForVisualQuestionAnswering",
    "MLMMModel",
    "MLMMProcessor",
    "MomentumQueueCallback",
    "RegionDetector",
    "RegionDetectorConfig",
    "RegionFeatureExtractor",
    "RegionImageProcessor",
    "RegionOutput",
    "__version__",
    "load_emoji7",
    "read_pairs",
]
