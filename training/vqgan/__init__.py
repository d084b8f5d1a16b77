"""Training a small VQGAN: model, images and evaluation."""
