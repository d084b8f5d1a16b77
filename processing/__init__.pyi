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
from .mlmm_batches import MLMMBatches
from .mlmm_collator import MLMMPretrainingCollator
from .mlmm_corpus import MLMMCorpus
from .mlmm_examples import MLMMExamples, draw_evaluation
from .mlmm_finetuning import MLMMQuestionCollator, MLMMRetrievalCollator, MLMMRetrievalExamples, soft_targets
from .processing_brivl import BriVLProcessor
from .processing_mlmm import MLMMProcessor
from .region_geometry import normalize_boxes
from .region_rows import RegionError
from .unigram_tokenizer import build_unigram_tokenizer, load_small_tokenizer

__all__ = [
    "Augmentation",
    "BriVLImageProcessor",
    "BriVLProcessor",
    "CachedFeatureMaps",
    "ContrastiveCollator",
    "DetectionAugmentation",
    "DetectionCollator",
    "ImageDecodingError",
    "MLMMBatches",
    "MLMMCorpus",
    "MLMMExamples",
    "MLMMPretrainingCollator",
    "MLMMProcessor",
    "MLMMQuestionCollator",
    "MLMMRetrievalCollator",
    "MLMMRetrievalExamples",
    "RegionError",
    "build_character_tokenizer",
    "build_unigram_tokenizer",
    "decode_image",
    "draw_evaluation",
    "embed_images",
    "embed_texts",
    "find_brivl_boxes",
    "load_small_tokenizer",
    "normalize_boxes",
    "soft_targets",
]
