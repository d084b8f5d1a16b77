from .detection import detection_map
from .load_metric import list_metrics, load_metric
from .mlmm_pretraining import evaluate_mlmm_pretraining
from .retrieval.recall import fold_recalls, precision_at_k, recall_at_k, retrieval_recalls
from .vqa.accuracy import normalize_answer, prepare_answer, single_answer_accuracy, vqa_accuracy
from .zero_shot.accuracy import mean_embedding, top_k_accuracy
from .zero_shot.embeddings import Emoji7Embeddings
from .zero_shot.emoji7 import evaluate_emoji7
from .zero_shot.language import evaluate_language

__all__ = [
    "Emoji7Embeddings",
    "detection_map",
    "evaluate_emoji7",
    "evaluate_language",
    "evaluate_mlmm_pretraining",
    "fold_recalls",
    "list_metrics",
    "load_metric",
    "mean_embedding",
    "normalize_answer",
    "precision_at_k",
    "prepare_answer",
    "recall_at_k",
    "retrieval_recalls",
    "single_answer_accuracy",
    "top_k_accuracy",
    "vqa_accuracy",
]
