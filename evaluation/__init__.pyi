from .detection_map import detection_map
from .emoji7_protocol import evaluate_emoji7
from .mlmm_pretraining import evaluate_mlmm_pretraining
from .retrieval_recall import RetrievalRecall, recall_at_k
from .zero_shot import mean_embedding, top_k_accuracy

__all__ = [
    "RetrievalRecall",
    "detection_map",
    "evaluate_emoji7",
    "evaluate_mlmm_pretraining",
    "mean_embedding",
    "recall_at_k",
    "top_k_accuracy",
]
