"""EmojiScenes: drawn scenes with captions, boxes and questions in seven languages."""
