"""Sentences about EmojiScenes in other words and other grammar than its templates, to evaluate on."""
