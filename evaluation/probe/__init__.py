"""Linear probe, nearest neighbours and few-shot curve of image features: what an image tower knows without text."""
