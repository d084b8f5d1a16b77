from .plots.boxes import draw_regions, name_regions
from .region_attention.attention import RegionAttention, text_to_region_attention
from .region_attention.figure import draw_attention_grid, draw_attention_panels, draw_region_attention
from .region_attention.pointing import collect_points, word_weights
from .region_attention.rollout import attention_rollout
from .region_attention.similarity import jensen_shannon, language_pairs

__all__ = [
    "RegionAttention",
    "attention_rollout",
    "collect_points",
    "draw_attention_grid",
    "draw_attention_panels",
    "draw_region_attention",
    "draw_regions",
    "jensen_shannon",
    "language_pairs",
    "name_regions",
    "text_to_region_attention",
    "word_weights",
]
