"""The figure of the best and worst classes of a zero-shot classification."""
