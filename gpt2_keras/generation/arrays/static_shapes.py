"""Graphs of static shapes, which XLA compiles: all of JAX', and TensorFlow's where it is asked."""

import contextlib
import contextvars
from collections.abc import Iterator

# Up to so many of the largest are found without sorting all.
FEW = 128

_STATIC = contextvars.ContextVar("static_shapes", default=False)


def are_static() -> bool:
    """Returns whether TensorFlow builds a graph of static shapes only."""
    return _STATIC.get()


@contextlib.contextmanager
def static_shapes() -> Iterator[None]:
    """Builds graphs of static shapes while the block runs."""
    token = _STATIC.set(True)
    try:
        yield
    finally:
        _STATIC.reset(token)
