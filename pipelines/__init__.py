"""A model on many inputs: embedding, pair scoring, visual question answering."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
