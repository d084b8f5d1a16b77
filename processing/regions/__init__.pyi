from .brivl_boxes import find_brivl_boxes
from .feature_extractor import RegionFeatureExtractor
from .imagenet_weights import load_imagenet_resnet
from .output import RegionOutput

__all__ = ["RegionFeatureExtractor", "RegionOutput", "find_brivl_boxes", "load_imagenet_resnet"]
