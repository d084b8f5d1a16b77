from .configuration_region_detector import RegionDetectorConfig
from .image_processing_regions import RegionImageProcessor
from .modeling_region_detector import RegionDetector, RegionDetectorOutput
from .region_feature_extractor import RegionFeatureExtractor
from .region_output import RegionOutput

__all__ = [
    "RegionDetector",
    "RegionDetectorConfig",
    "RegionDetectorOutput",
    "RegionImageProcessor",
    "RegionFeatureExtractor",
    "RegionOutput",
]
