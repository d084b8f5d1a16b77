from .plots.attention import draw_attention_panels, draw_region_attention
from .plots.boxes import draw_regions, name_regions
from .region_attention import RegionAttention, text_to_region_attention

__all__ = [
    "RegionAttention",
    "draw_attention_panels",
    "draw_region_attention",
    "draw_regions",
    "name_regions",
    "text_to_region_attention",
]
