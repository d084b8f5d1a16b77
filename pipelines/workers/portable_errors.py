"""Errors that reach another process as they are."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def portable_errors() -> Iterator[None]:
    """Replace an error of the block that another process could not read by one of the nearest class that it can.

    Its message stays; what the new error says beyond its class is the name of the first one's.
    """
    try:
        yield
    except Exception as error:
        if _survives(error):
            raise
        for kind in type(error).__mro__[1:]:
            nearest = kind(str(error))
            if isinstance(nearest, Exception) and _survives(nearest):
                raise nearest from error
        raise


def _survives(error: Exception) -> bool:
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does
        return False
    return type(copy) is type(error) and str(copy) == str(error)


__all__ = ["portable_errors"]
