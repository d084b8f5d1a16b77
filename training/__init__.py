"""The parts of training scripts: run, recipe, checkpoints, callbacks, and model, data and trainer of each task."""
