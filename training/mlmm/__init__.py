"""Pre-training MLMM: model, data and trainer."""
