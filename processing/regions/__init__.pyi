from .configuration_region_detector import RegionDetectorConfig
from .region_output import RegionOutput

__all__ = [
    "RegionDetectorConfig",
    "RegionOutput",
]
