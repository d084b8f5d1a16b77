"""A recipe to a checkpoint: one runnable file per job."""
