"""Tensors in files of any system, and how they fill a model."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from gpt2_keras.config import GPT2Config
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer


class Tensors(NamedTuple):
    """Named tensors on disk, of which each is read when it is wanted.

    Args:
        source: The file or directory, for error messages.
        shapes: The shape of each, by the name its system gives it.
        read: Reads one by its name, in any float dtype.
    """

    source: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


class Checkpoint(NamedTuple):
    """A model on disk before its weights are read.

    Args:
        config: Its shape.
        tokenizer: Its tokenizer, if there is one.
        fill: Sets the weights of a model of that shape.
    """

    config: GPT2Config
    tokenizer: GPT2Tokenizer | None
    fill: Callable[[GPT2Model], None]


class StoredVariable(NamedTuple):
    """A weight of a model, and how a system stores it.

    Args:
        variable: The weight.
        transposed: Whether the stored one is (in, out); our kernels are (out, in).
        unit_axes: Number of axes of size 1 that come first in the stored one.
        kernel_of: The `Projection` that the weight is the kernel of; what is stored
            includes what LoRA has added to it.
    """

    variable: Any
    transposed: bool = False
    unit_axes: int = 0
    kernel_of: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored tensor's shape."""
        shape = tuple(self.variable.shape)
        return (1,) * self.unit_axes + (shape[::-1] if self.transposed else shape)

    def read(self) -> np.ndarray:
        """Returns the tensor to store, float32."""
        if self.kernel_of is None:
            array = np.asarray(self.variable.value, dtype="float32")
        else:
            array = self.kernel_of.merged_kernel()
        return np.ascontiguousarray(array.T if self.transposed else array).reshape(self.shape)

    def assign(self, stored: np.ndarray) -> None:
        """Sets the weight to a stored tensor."""
        value = stored.reshape(stored.shape[self.unit_axes :])
        # 1.3 times as fast as NumPy's transposition in float32, 3 times in bfloat16.
        self.variable.assign(ops.transpose(value) if self.transposed else value)


def fill(
    variables: Mapping[str, StoredVariable],
    tensors: Tensors,
    *,
    ignored: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
    config_file: str,
) -> None:
    """Sets weights to stored tensors, one at a time.

    The largest come first, so that reading one does not come on top of all the
    others: the peak stays near the size of the model.

    Args:
        variables: The weights, by the names of the system of origin.
        tensors: The stored ones.
        ignored: Says which names no model needs.
        config_file: The file that says which there must be, for error messages.

    Raises:
        ValueError: If a tensor is missing, surplus or of another shape; lists all,
            by the names of the system of origin.
    """
    wrong = [f"missing {name}" for name in variables if name not in tensors.shapes]
    wrong += [
        f"surplus {name}" for name in tensors.shapes if name not in variables and not ignored(name)
    ]
    wrong += [
        f"{name} is {shape} and not {variables[name].shape}"
        for name, shape in tensors.shapes.items()
        if name in variables and shape != variables[name].shape
    ]
    if wrong:
        raise ValueError(
            f"The tensors must be those that {config_file} asks for. "
            f"Received: {tensors.source} with {len(wrong)} that differ: {'; '.join(wrong)}. "
            f"Use the {config_file} that came with the weights."
        )
    for name in sorted(variables, key=lambda name: -math.prod(variables[name].shape)):
        variables[name].assign(tensors.read(name))
