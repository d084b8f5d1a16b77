from .embed_to_parquet import EmbedReport, embed_to_parquet

__all__ = ["EmbedReport", "embed_to_parquet"]
