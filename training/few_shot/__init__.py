"""Few-shot classification of texts: prompts tuned with and without images, on towers that stay as they are."""
