"""detectron2: its checkpoints, configurations and models, in both directions."""
