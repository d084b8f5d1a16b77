"""The commands of an index."""
