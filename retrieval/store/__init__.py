"""The folder of an index: embeddings in Parquet shards, the source of truth, and the manifest that lists them."""
