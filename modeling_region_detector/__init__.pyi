from .configuration_region_detector import RegionDetectorConfig
from .image_processing_region_detector import RegionImageProcessor
from .modeling_region_detector import RegionDetector, RegionDetectorOutput

__all__ = ["RegionDetector", "RegionDetectorConfig", "RegionDetectorOutput", "RegionImageProcessor"]
