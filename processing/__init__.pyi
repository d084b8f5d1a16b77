from .augmentation.detection import DetectionAugmentation
from .augmentation.image import Augmentation
from .collators.brivl import ContrastiveCollator
from .collators.detection import DetectionCollator
from .collators.mlmm_finetuning import MLMMQuestionCollator, MLMMRetrievalCollator, soft_targets
from .collators.mlmm_pretraining import MLMMPretrainingCollator
from .image_decoding import ImageDecodingError, decode_image
from .image_processing_brivl import BriVLImageProcessor
from .processing_brivl import BriVLProcessor
from .processing_mlmm import MLMMProcessor
from .region_inputs import RegionError, normalize_boxes
from .tokenizers.character import build_character_tokenizer
from .tokenizers.unigram import build_unigram_tokenizer, load_small_tokenizer

__all__ = [
    "Augmentation",
    "BriVLImageProcessor",
    "BriVLProcessor",
    "ContrastiveCollator",
    "DetectionAugmentation",
    "DetectionCollator",
    "ImageDecodingError",
    "MLMMPretrainingCollator",
    "MLMMProcessor",
    "MLMMQuestionCollator",
    "MLMMRetrievalCollator",
    "RegionError",
    "build_character_tokenizer",
    "build_unigram_tokenizer",
    "decode_image",
    "load_small_tokenizer",
    "normalize_boxes",
    "soft_targets",
]
