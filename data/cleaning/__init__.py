"""Rules that clean crawled image-text pairs, and the pipeline that applies them."""
