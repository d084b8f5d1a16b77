"""MLMM: one tower over Faster R-CNN regions and text in seven languages. Empty until its own issue."""
