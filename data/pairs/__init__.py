"""Image-text pairs: readers, shards, streams, reports and writers."""
