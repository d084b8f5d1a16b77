"""Plain ports of the originals, which the benchmarks measure against."""
