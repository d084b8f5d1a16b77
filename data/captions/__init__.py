"""Captions of public data sets to rows with an image id, a language and a text."""
