"""Random changes of images (and of their boxes) while training."""
