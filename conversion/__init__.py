"""Checkpoints of others to ours, and ours to other runtimes."""
