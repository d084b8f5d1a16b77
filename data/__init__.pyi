from .atomic_files import atomic_file, atomic_files
from .bad_rows import BadRowReport, TooManyBadRowsError
from .clean import clean_pairs
from .clean_report import CleanReport, CleanSettings
from .emoji7 import GROUP_NAMES, LANGUAGES, draw_text, load_emoji7, training_texts
from .pair_report import PairReport, report_pairs
from .pairs import read_pairs
from .streaming_pairs import StreamedPairs
from .training_pairs import TrainingPairs

__all__ = [
    "GROUP_NAMES",
    "LANGUAGES",
    "BadRowReport",
    "CleanReport",
    "CleanSettings",
    "PairReport",
    "StreamedPairs",
    "TooManyBadRowsError",
    "TrainingPairs",
    "atomic_file",
    "atomic_files",
    "clean_pairs",
    "draw_text",
    "load_emoji7",
    "read_pairs",
    "report_pairs",
    "training_texts",
]
