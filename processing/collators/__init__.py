"""Rows to batches: one collator for each task."""
