from .build import BuildOptions, build_index
from .embed import embed_to_parquet
from .filters import Filter
from .hits import Hit, Hits
from .maintenance import compact_index, describe_index, remove_rows
from .search import SearchEngine

__all__ = [
    "BuildOptions",
    "Filter",
    "Hit",
    "Hits",
    "SearchEngine",
    "build_index",
    "compact_index",
    "describe_index",
    "embed_to_parquet",
    "remove_rows",
]
