from .independent_classifier import IndependentClassifier, train_classifier
from .neurons.augmentation import AffineCopies
from .neurons.frozen_weights import frozen_weights
from .neurons.image_embedding import ImageEmbedder
from .neurons.optimization import OptimizationSettings, OptimizedImages, optimize, to_pil_images
from .neurons.parametrizations import FourierImages, PixelImages
from .neurons.targets import Target, image_target, neuron_target, text_targets
from .plots.boxes import draw_regions, name_regions
from .region_attention.attention import RegionAttention, text_to_region_attention
from .region_attention.figure import draw_attention_grid, draw_attention_panels, draw_region_attention
from .region_attention.pointing import collect_points, word_weights
from .region_attention.rollout import attention_rollout
from .region_attention.similarity import jensen_shannon, language_pairs
from .region_attention.token_matches import text_to_region_matches

__all__ = [
    "AffineCopies",
    "FourierImages",
    "ImageEmbedder",
    "IndependentClassifier",
    "OptimizationSettings",
    "OptimizedImages",
    "PixelImages",
    "RegionAttention",
    "Target",
    "attention_rollout",
    "collect_points",
    "draw_attention_grid",
    "draw_attention_panels",
    "draw_region_attention",
    "draw_regions",
    "frozen_weights",
    "image_target",
    "jensen_shannon",
    "language_pairs",
    "name_regions",
    "neuron_target",
    "optimize",
    "text_targets",
    "text_to_region_attention",
    "text_to_region_matches",
    "to_pil_images",
    "train_classifier",
    "word_weights",
]
