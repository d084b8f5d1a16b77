"""What training scripts are made of: recipe, checkpoints, callbacks, and model, data and trainer of each task."""
