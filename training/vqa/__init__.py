"""Fine-tuning to visual question answering."""
