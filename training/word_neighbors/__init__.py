"""The comparison of words in the spaces of several models (the paper's section 3.1)."""
