from .attention_picture import draw_attention_panels, draw_region_attention
from .region_attention import RegionAttention, text_to_region_attention

__all__ = ["RegionAttention", "draw_attention_panels", "draw_region_attention", "text_to_region_attention"]
