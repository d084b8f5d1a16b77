"""Image-text retrieval: recall, score matrices, confidence intervals, benchmarks."""
