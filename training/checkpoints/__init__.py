"""Checkpoints that survive a kill: atomic writing, manifests, resuming."""
