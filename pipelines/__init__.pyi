from .embedding import embed_image_tokens, embed_images, embed_text_tokens, embed_texts
from .open_brivl import open_brivl

__all__ = ["embed_image_tokens", "embed_images", "embed_text_tokens", "embed_texts", "open_brivl"]
