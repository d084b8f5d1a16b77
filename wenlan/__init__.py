"""wenlan: BriVL and MLMM, the multimodal models of WuDao-WenLan, for Hugging Face transformers.

`import wenlan` makes `AutoModel`, `AutoProcessor` and `pipeline` know the models. The public names are listed in
`__init__.pyi` and load on first use.
"""

from importlib.metadata import version

import lazy_loader

from .auto_registration import register_on_import

__version__ = version("wenlan")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

register_on_import()
