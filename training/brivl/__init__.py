"""Pre-training BriVL: model, data and the cache of feature maps."""
