"""Whether TensorFlow's array functions build a graph of static shapes, for XLA."""

import contextlib
import contextvars
from collections.abc import Iterator

_STATIC = contextvars.ContextVar("static_shapes", default=False)


def are_static() -> bool:
    """Returns whether the graph that is being built has static shapes only."""
    return _STATIC.get()


@contextlib.contextmanager
def static_shapes() -> Iterator[None]:
    """Builds graphs of static shapes while the block runs."""
    token = _STATIC.set(True)
    try:
        yield
    finally:
        _STATIC.reset(token)
