"""Nearest neighbours of words in two spaces: the change that images bring (the paper's section 3.1, figures 7-10)."""
