"""Small tokenizers, built from a list of texts."""
