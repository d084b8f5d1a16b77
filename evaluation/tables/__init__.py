"""The paper's tables 3 and 4, compared with our results."""
