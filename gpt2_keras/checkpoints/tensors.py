"""Checkpoints of any system: named tensors on disk, and the model they become."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from keras import ops

from gpt2_keras.config import GPT2Config
from gpt2_keras.generation_config import GenerationConfig
from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer

Model = TypeVar("Model", bound=GPT2Model)


# Vocabularies are padded for the sake of the hardware: to a multiple of 64 by nanoGPT, of 128 times
# the number of GPUs that share the table by Megatron-LM (make-vocab-size-divisible-by).
MAX_PADDING_ROWS = 1023
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_LITTLE = 2**24  # weights, 64 MiB in float32
_TABLES = ("wte.weight", "lm_head.weight", "model/wte")  # what the names of the tables end with


class Tensors(NamedTuple):
    """Named tensors on disk, each read on demand.

    Args:
        source: The file or directory, for error messages.
        shapes: The shape of each tensor, by its name on disk.
        read: Reads the tensor of a name, in any float dtype.
    """

    source: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]

    def without_padding(self, num_rows: int, vocab_size: int) -> "Tensors":
        """Returns the tensors without the rows of the tables that are no tokens.

        Args:
            num_rows: Number of rows of a table on disk.
            vocab_size: Number of the first ones that are tokens.

        Raises:
            ValueError: If a table has another number of rows.
        """
        if vocab_size >= num_rows:
            return self
        tables = {}
        for name, shape in self.shapes.items():
            if name.endswith(_TABLES):
                if shape[:1] != (num_rows,):
                    raise ValueError(
                        f"{name} of {self.source} has the shape {shape}, and its config has "
                        f"vocab_size={num_rows}. Use the config that came with the weights."
                    )
                tables[name] = (vocab_size, *shape[1:])

        def read(name: str) -> np.ndarray:
            return self.read(name)[:vocab_size] if name in tables else self.read(name)

        return Tensors(self.source, {**self.shapes, **tables}, read)


class Checkpoint(NamedTuple):
    """A model on disk before its weights are read.

    Args:
        config: Its config.
        tokenizer: Its tokenizer, if there is one.
        fill: Sets the weights of a model of that config.
        generation_config: Its end tokens and sampling defaults.
        directory: Its directory; None if it is in memory.
    """

    config: GPT2Config
    tokenizer: GPT2Tokenizer | None
    fill: Callable[[GPT2Model], None]
    generation_config: GenerationConfig = GenerationConfig()
    directory: Path | None = None

    def make_model(self, model_class: type[Model], dtype: Any) -> Model:
        """Returns a model of a class, `GPT2Model` or a subclass, with the weights."""
        if not (isinstance(model_class, type) and issubclass(model_class, GPT2Model)):
            raise TypeError(
                f"model_class={model_class!r} is no class of models. Use GPT2LM or a subclass."
            )
        config, tokenizer = self.fitted()
        with uninitialized_weights():
            model = model_class(config, tokenizer=tokenizer, dtype=dtype)
        model.generation_config = self.generation_config
        self.fill(model)
        return model

    def fitted(self) -> tuple[GPT2Config, GPT2Tokenizer | None]:
        """Returns a config and a tokenizer of one vocabulary.

        Rows of the model after the last token are padding, and are left out. Special tokens
        that the model has no rows for are left out of the tokenizer, with a warning.

        Raises:
            ValueError: If the files are too small for a model of that config.
        """
        config, tokenizer = self.config, self.tokenizer
        if self.directory is not None:
            check_fits(config, self.directory)
        if tokenizer is None:
            return config, None
        unknown = [name for name, i in tokenizer.special_tokens.items() if i >= config.vocab_size]
        if 0 < tokenizer.vocab_size - config.vocab_size == len(unknown):
            warnings.warn(
                f"The model has no embeddings of the special tokens {unknown}, which its tokenizer "
                "has: they are read as ordinary text. Add them to the model with "
                "`gpt2_keras.finetuning.add_special_tokens`.",
                stacklevel=2,
            )
            tokenizer = tokenizer.without_special_tokens(unknown)
        if 0 < config.vocab_size - tokenizer.vocab_size <= MAX_PADDING_ROWS:
            config = dataclasses.replace(config, vocab_size=tokenizer.vocab_size)
        return config, tokenizer


def check_fits(config: GPT2Config, directory: Path) -> None:
    """Raises ValueError if the files of a directory are too small for a model of a config.

    Called before the model is made: memory is taken for what is on disk, not for any number
    that a file names. No format here has weights of less than a byte. A model of little memory
    is made without this check, since reading the files then tells which tensor is wrong.
    """
    size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
    positions = config.context_length * config.hidden_dim  # on disk, learned or not
    needed = max(config.num_parameters, positions)
    if needed > max(size, _LITTLE):
        raise ValueError(
            f"A model of the config in {directory} has {needed:,} weights, and all files there "
            f"have {size:,} bytes. Copy or download the missing files, or use the config that "
            "came with the weights."
        )


class StoredVariable(NamedTuple):
    """A weight of a model and its layout on disk.

    Args:
        variable: The weight.
        transposed: Whether the stored tensor is (in, out); our kernels are (out, in).
        unit_axes: Number of leading axes of size 1 in the stored tensor.
        kernel_of: The `Projection` that the weight is the kernel of; the stored tensor
            includes what LoRA has added.
    """

    variable: Any
    transposed: bool = False
    unit_axes: int = 0
    kernel_of: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stored tensor."""
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

    The largest are read first, while memory holds little else: the peak stays near the
    size of the model.

    Args:
        variables: The weights, by their names on disk.
        tensors: The stored tensors.
        ignored: Returns whether no model needs a name.
        config_file: The file that gives the number and the shapes of the tensors, for
            error messages.

    Raises:
        ValueError: If a tensor is missing, unexpected or of another shape; lists all. If one
            has no floating-point numbers.
    """
    wrong = [f"missing {name}" for name in variables if name not in tensors.shapes]
    wrong += [
        f"unexpected {name}"
        for name in tensors.shapes
        if name not in variables and not ignored(name)
    ]
    wrong += [
        f"{name} of shape {shape}, expected {variables[name].shape}"
        for name, shape in tensors.shapes.items()
        if name in variables and shape != variables[name].shape
    ]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of the tensors in {tensors.source} do not fit {config_file}: "
            f"{'; '.join(wrong)}. Use the {config_file} that came with the weights."
        )
    for name in sorted(variables, key=lambda name: -math.prod(variables[name].shape)):
        stored = tensors.read(name)
        if stored.dtype.name not in _FLOATS:
            raise wrong_dtype(tensors.source, name, stored.dtype.name)
        variables[name].assign(stored)


def wrong_dtype(source: Path, name: str, dtype: str) -> ValueError:
    """Returns the error for a tensor whose numbers are not the weights."""
    return ValueError(
        f"{name} of {source} has the dtype {dtype}. Weights are float64, float32, float16 or "
        "bfloat16; others are codes of a quantisation, whose scales no GPT-2 has. Use the "
        "checkpoint before it was quantised."
    )
