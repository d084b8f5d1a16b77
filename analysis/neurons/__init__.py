"""Images that a sentence, an image or a coordinate of the embedding calls up (figure 4)."""
