"""Region features on disk: schema, shards, readers, importers."""
