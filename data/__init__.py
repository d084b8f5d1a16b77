"""Files to rows: the embedded data set emoji7, and the pairs that users bring. Names: see `__init__.pyi`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
