from .answer_lists import answer_ceiling, build_answers, read_answers, write_answers
from .atomic_files import atomic_file, atomic_files
from .bad_rows import BadRowReport, TooManyBadRowsError
from .caption_folders import WrittenCaptions, write_captions
from .caption_readers import read_captions
from .caption_rows import CaptionRows
from .clean import clean_pairs
from .clean_report import CleanReport, CleanSettings
from .coco_detection import DetectionData, read_coco_detection
from .detection_rows import DetectionRows
from .emoji7 import GROUP_NAMES, LANGUAGES, draw_text, load_emoji7, training_texts
from .emoji_scenes import generate_scene, generate_scenes, load_emoji_scenes, scene_seed, text_seed
from .leak_guard import LeakError, LeakGuard
from .pair_report import PairReport, report_pairs
from .pairs import read_pairs
from .picture_lists import list_pictures
from .region_files import write_bua_npz
from .region_import import import_regions
from .region_reading import RegionShardError, read_region_info, read_regions
from .scene_files import write_emoji_scenes
from .scene_questions import answer_vocabulary, ask_questions
from .scene_words import ATTRIBUTE_NAMES, CLASS_NAMES, COLOUR_NAMES
from .streaming_pairs import StreamedPairs
from .training_pairs import TrainingPairs
from .vqa_files import VQAData, read_vqa
from .vqa_vg_japanese import read_vqa_vg_japanese

__all__ = [
    "ATTRIBUTE_NAMES",
    "CLASS_NAMES",
    "COLOUR_NAMES",
    "GROUP_NAMES",
    "LANGUAGES",
    "BadRowReport",
    "CaptionRows",
    "CleanReport",
    "CleanSettings",
    "DetectionData",
    "DetectionRows",
    "LeakError",
    "LeakGuard",
    "PairReport",
    "RegionShardError",
    "StreamedPairs",
    "TooManyBadRowsError",
    "TrainingPairs",
    "VQAData",
    "WrittenCaptions",
    "answer_ceiling",
    "answer_vocabulary",
    "ask_questions",
    "atomic_file",
    "atomic_files",
    "build_answers",
    "clean_pairs",
    "draw_text",
    "generate_scene",
    "generate_scenes",
    "import_regions",
    "list_pictures",
    "load_emoji7",
    "load_emoji_scenes",
    "read_answers",
    "read_captions",
    "read_coco_detection",
    "read_pairs",
    "read_region_info",
    "read_regions",
    "read_vqa",
    "read_vqa_vg_japanese",
    "report_pairs",
    "scene_seed",
    "text_seed",
    "training_texts",
    "write_answers",
    "write_bua_npz",
    "write_captions",
    "write_emoji_scenes",
]
