"""Images: attention overlays, boxes, image grids, and the fonts that they need."""
