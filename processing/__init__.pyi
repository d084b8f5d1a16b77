from .augmentation import Augmentation
from .brivl_boxes import find_brivl_boxes
from .character_vocabulary import build_character_tokenizer
from .contrastive_collator import ContrastiveCollator
from .detection_augmentation import DetectionAugmentation
from .detection_collator import DetectionCollator
from .embedding import embed_images, embed_texts
from .feature_map_cache import CachedFeatureMaps
from .image_decoding import ImageDecodingError, decode_image
from .image_processing_brivl import BriVLImageProcessor
from .processing_brivl import BriVLProcessor

__all__ = [
    "Augmentation",
    "BriVLImageProcessor",
    "BriVLProcessor",
    "CachedFeatureMaps",
    "ContrastiveCollator",
    "DetectionAugmentation",
    "DetectionCollator",
    "ImageDecodingError",
    "build_character_tokenizer",
    "decode_image",
    "embed_images",
    "embed_texts",
    "find_brivl_boxes",
]
