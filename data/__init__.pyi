from .captions.decontamination import Decontaminator, LeakError
from .captions.load import read_captions
from .captions.rows import CaptionRows
from .captions.writer import WrittenCaptions, write_captions
from .cleaning.pipeline import clean_pairs
from .cleaning.settings import CleanReport, CleanSettings
from .csldcp.load import CSLDCP, read_csldcp
from .detection.coco import DetectionData, read_coco_detection
from .detection.dataset import DetectionRows
from .emoji7.dataset import GROUP_NAMES, draw_text, load_emoji7, training_texts
from .emoji7.phrases import Phrase, load_phrases
from .emoji_scenes.dataset import generate_scene, generate_scenes, load_emoji_scenes, scene_seed, text_seed
from .emoji_scenes.export import write_emoji_scenes
from .emoji_scenes.questions import answer_vocabulary, ask_questions
from .emoji_scenes.vocabulary import ATTRIBUTE_NAMES, CLASS_NAMES, COLOUR_NAMES
from .files.atomic import atomic_file, atomic_files
from .files.image_listing import list_images
from .mlmm.batch_sampler import MLMMBatches
from .mlmm.corpus import MLMMCorpus
from .mlmm.dataset import MLMMExamples, draw_evaluation
from .mlmm.retrieval_dataset import MLMMRetrievalExamples
from .pairs.dataset import TrainingPairs
from .pairs.load import read_pairs
from .pairs.report import PairReport
from .pairs.report_pairs import report_pairs
from .pairs.streaming import StreamedPairs
from .regions.feature_formats import write_bua_npz
from .regions.import_features import import_regions
from .regions.load import RegionShardError, read_region_info, read_regions
from .rows.languages import LANGUAGES
from .rows.report import BadRowReport, TooManyBadRowsError
from .vqa.answer_vocabulary import build_answers, oracle_accuracy, read_answers, write_answers
from .vqa.vg_japanese import read_vqa_vg_japanese
from .vqa.vqa2 import VQAData, read_vqa
from .zero_shot.class_list import ClassList, read_class_list
from .zero_shot.templates import load_templates, read_templates

__all__ = [
    "ATTRIBUTE_NAMES",
    "CLASS_NAMES",
    "COLOUR_NAMES",
    "CSLDCP",
    "GROUP_NAMES",
    "LANGUAGES",
    "BadRowReport",
    "CaptionRows",
    "ClassList",
    "CleanReport",
    "CleanSettings",
    "Decontaminator",
    "DetectionData",
    "DetectionRows",
    "LeakError",
    "MLMMBatches",
    "MLMMCorpus",
    "MLMMExamples",
    "MLMMRetrievalExamples",
    "PairReport",
    "Phrase",
    "RegionShardError",
    "StreamedPairs",
    "TooManyBadRowsError",
    "TrainingPairs",
    "VQAData",
    "WrittenCaptions",
    "answer_vocabulary",
    "ask_questions",
    "atomic_file",
    "atomic_files",
    "build_answers",
    "clean_pairs",
    "draw_evaluation",
    "draw_text",
    "generate_scene",
    "generate_scenes",
    "import_regions",
    "list_images",
    "load_emoji7",
    "load_emoji_scenes",
    "load_phrases",
    "load_templates",
    "oracle_accuracy",
    "read_answers",
    "read_captions",
    "read_class_list",
    "read_coco_detection",
    "read_csldcp",
    "read_pairs",
    "read_region_info",
    "read_regions",
    "read_templates",
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
