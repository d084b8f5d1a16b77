from .embed import EmbedReport, embed_to_parquet

__all__ = ["EmbedReport", "embed_to_parquet"]
