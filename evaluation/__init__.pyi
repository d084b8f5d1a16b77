from .caption_recall import fold_recalls, recall_at_k, retrieval_recalls
from .detection_map import detection_map
from .emoji7_protocol import evaluate_emoji7
from .metric_loading import list_metrics, load_metric
from .mlmm_pretraining import evaluate_mlmm_pretraining
from .vqa_scores import normalize_answer, prepare_answer, single_answer_accuracy, vqa_accuracy
from .zero_shot import mean_embedding, top_k_accuracy

__all__ = [
    "detection_map",
    "evaluate_emoji7",
    "evaluate_mlmm_pretraining",
    "fold_recalls",
    "list_metrics",
    "load_metric",
    "mean_embedding",
    "normalize_answer",
    "prepare_answer",
    "recall_at_k",
    "retrieval_recalls",
    "single_answer_accuracy",
    "top_k_accuracy",
    "vqa_accuracy",
]
