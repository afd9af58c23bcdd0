"""The activations of the forward pass by name: where they can be read, and changed.

Layers pass what they compute to `observe`, which returns it unchanged unless an observer of the
model asks for that name (`gpt2_keras.understanding` sets them). Nothing is added to a graph that
is traced without an observer. The names and shapes are those of TransformerLens'
`HookedTransformer`.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any

EMBEDDINGS = ("hook_embed", "hook_pos_embed")
BLOCK = (
    "hook_resid_pre",
    "ln1.hook_scale",
    "ln1.hook_normalized",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "attn.hook_z",
    "hook_attn_out",
    "hook_resid_mid",
    "ln2.hook_scale",
    "ln2.hook_normalized",
    "mlp.hook_pre",
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
)
FINAL_NORM = ("ln_final.hook_scale", "ln_final.hook_normalized")

# `function(value, name)` of an activation: what to go on with, or None to leave it as it is.
Function = Callable[[Any, str], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Observer:
    """What is done with some activations of a model while it computes.

    Args:
        model: The model. Others that compute meanwhile are not observed.
        functions: For each name what is called with the activation.
        cached_functions: What was compiled while it observed, by the observers beside it.
    """

    model: Any
    functions: dict[str, Function]
    cached_functions: dict[Any, dict[str, Any]] = dataclasses.field(default_factory=dict)


_set: contextvars.ContextVar[tuple[Observer, ...]] = contextvars.ContextVar("set", default=())
_active: contextvars.ContextVar[tuple[Observer, ...]] = contextvars.ContextVar("on", default=())
_scope: contextvars.ContextVar[str] = contextvars.ContextVar("scope", default="")


def names_of(num_layers: int) -> list[str]:
    """Returns the names of a model's activations, in the order of the forward pass."""
    blocks = [f"blocks.{index}.{name}" for index in range(num_layers) for name in BLOCK]
    return [*EMBEDDINGS, *blocks, *FINAL_NORM]


@contextlib.contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Observes a model while the block runs, in this thread; observers may be nested.

    Each sees what those before it have made of an activation.
    """
    token = _set.set((*_set.get(), observer))
    try:
        yield
    finally:
        _set.reset(token)


def observers() -> tuple[Observer, ...]:
    """Returns the observers of all models that are set in this thread."""
    return _set.get()


def observable(call: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a model's `call` one that the model's observers, and no others, see the inside of."""

    @functools.wraps(call)
    def observed_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _active.set(tuple(each for each in _set.get() if each.model is self))
        try:
            return call(self, *args, **kwargs)
        finally:
            _active.reset(token)

    return observed_call


def is_observing() -> bool:
    """Returns whether the model that computes is observed."""
    return bool(_active.get())


@contextlib.contextmanager
def scope(name: str) -> Iterator[None]:
    """Puts `name.` before the names of the activations in the block."""
    token = _scope.set(f"{_scope.get()}{name}.")
    try:
        yield
    finally:
        _scope.reset(token)


def is_observed(names: Collection[str]) -> bool:
    """Returns whether an observer asks for one of some activations of this scope."""
    prefix = _scope.get()
    return any(prefix + name in each.functions for each in _active.get() for name in names)


def observe(name: str, value: Any, form: Callable[[Any], Any] | None = None) -> Any:
    """Returns an activation as the observers of the model have made it.

    Args:
        name: Its name in this scope.
        value: The activation.
        form: Swaps between the form that the layer computes with and that of TransformerLens;
            applied twice it gives back its input. By default they are the same.
    """
    if not is_observed((name,)):
        return value
    full_name = _scope.get() + name
    seen = value if form is None else form(value)
    before = seen
    for observer in _active.get():
        if function := observer.functions.get(full_name):
            changed = function(seen, full_name)
            seen = seen if changed is None else changed
    if seen is before:
        return value  # itself, so that nothing changes bit for bit
    return seen if form is None else form(seen)
