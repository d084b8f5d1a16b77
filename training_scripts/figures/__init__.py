"""A trained model to a figure of the paper: one runnable file per figure."""
