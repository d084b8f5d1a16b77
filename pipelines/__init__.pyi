from .embedding import embed_images, embed_texts
from .open_brivl import open_brivl

__all__ = ["embed_images", "embed_texts", "open_brivl"]
