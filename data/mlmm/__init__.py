"""Images with regions and captions to the examples and batches that MLMM trains on."""
