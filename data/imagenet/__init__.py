"""ImageNet-1k: the names of its classes."""
