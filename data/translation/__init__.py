"""Machine translation of captions, with filters and resumable shards."""
