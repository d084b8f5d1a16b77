"""Make `import detectron2` work, also where its C++ part was not compiled."""

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

from PIL import Image

HOW_TO_GET = (
    "detectron2 is not installed. With a C++ compiler, beside PyTorch:\n"
    "  pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2\n"
    "Without one, its Python part is enough here: docs/regions.md says how. Or use backend='native'."
)


class _NotCompiled(ModuleType):
    """Stand-in for detectron2's compiled functions; each says so when called."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*args: object, **kwargs: object) -> None:
            raise NotImplementedError(
                f"detectron2 needs its compiled function {name} here (rotated boxes, deformable convolutions), but was "
                "installed without its C++ part: build it from source."
            )

        return refuse


def ensure_detectron2_importable() -> None:
    """Make the Python part of detectron2 0.6 run without its C++ part and with Pillow >= 10; else change nothing.

    Raises:
        ImportError: where there is no detectron2, or one of the packages that it needs.
    """
    if "detectron2" in sys.modules:
        return
    spec = importlib.util.find_spec("detectron2")
    if spec is None or spec.origin is None:  # a folder of that name, such as a clone, is not the package
        raise ImportError(HOW_TO_GET)
    is_compiled = importlib.machinery.PathFinder.find_spec("_C", spec.submodule_search_locations) is not None
    try:
        if not is_compiled:
            sys.modules["detectron2._C"] = stub = _NotCompiled("detectron2._C")
            vars(importlib.import_module("detectron2"))["_C"] = stub
            if not hasattr(Image, "LINEAR"):
                vars(Image)["LINEAR"] = Image.Resampling.BILINEAR  # the name before Pillow 10
        importlib.import_module("detectron2.modeling")
    except ModuleNotFoundError as error:
        raise ImportError(f"detectron2 needs {error.name}: pip install 'wenlan[detectron2-helpers]'") from error


__all__ = ["ensure_detectron2_importable"]
