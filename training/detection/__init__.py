"""Training the region detector: model, data, trainer and preview."""
