"""Word vectors of two text encoders, compared by nearest neighbors (figures 7 to 10)."""
