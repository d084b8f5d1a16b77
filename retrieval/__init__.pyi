from .embed import embed_to_parquet

__all__ = ["embed_to_parquet"]
