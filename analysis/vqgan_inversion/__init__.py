"""Text to image by inversion of a VQGAN (figure 11)."""
