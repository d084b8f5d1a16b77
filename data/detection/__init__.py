"""Images with annotated boxes for the region detector."""
