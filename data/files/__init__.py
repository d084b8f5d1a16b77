"""Files on disk: atomic writers, hashes, JSON, listings of images, safe NumPy archives."""
