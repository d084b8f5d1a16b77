"""Fine-tuning to image-text retrieval."""
