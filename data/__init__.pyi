from .atomic_files import atomic_file, atomic_files
from .bad_rows import BadRowReport, TooManyBadRowsError
from .emoji7 import GROUP_NAMES, LANGUAGES, draw_text, load_emoji7, training_texts
from .pairs import read_pairs
from .streaming_pairs import StreamedPairs
from .training_pairs import TrainingPairs

__all__ = [
    "GROUP_NAMES",
    "LANGUAGES",
    "BadRowReport",
    "StreamedPairs",
    "TooManyBadRowsError",
    "TrainingPairs",
    "atomic_file",
    "atomic_files",
    "draw_text",
    "load_emoji7",
    "read_pairs",
    "training_texts",
]
