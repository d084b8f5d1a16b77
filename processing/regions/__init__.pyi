from .configuration_region_detector import RegionDetectorConfig
from .drawing import draw_regions, name_regions
from .image_processing_regions import RegionImageProcessor
from .imagenet_resnet import load_imagenet_resnet
from .modeling_region_detector import RegionDetector, RegionDetectorOutput
from .region_feature_extractor import RegionFeatureExtractor
from .region_output import RegionOutput

__all__ = [
    "RegionDetector",
    "RegionDetectorConfig",
    "RegionDetectorOutput",
    "RegionFeatureExtractor",
    "RegionImageProcessor",
    "RegionOutput",
    "draw_regions",
    "load_imagenet_resnet",
    "name_regions",
]
