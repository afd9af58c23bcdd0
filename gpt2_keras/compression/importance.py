"""What layers and feed-forward neurons contribute, measured on text."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.data.given_texts import Text, encoded_documents
from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer

MAX_TOKENS = 32_768
_LONGEST_TOKEN = 128  # characters: the longest of GPT-2's own vocabulary
_BATCH_TOKENS = 4096  # the activations of a batch are in memory at the same time


@dataclasses.dataclass(frozen=True)
class Importance:
    """What each part of a model contributes to texts.

    Args:
        layers: Float `(layers,)`: 1 - cosine of the residual stream before and after a layer. A
            layer near 0 changes little. Source: Men et al., "ShortGPT" (2024), block influence.
        neurons: Float `(layers, feed_forward_dim)`: the variance of each activation, times the
            squared norm of the weights that read it. Source: An et al., "Fluctuation-based
            Adaptive Structured Pruning" (2024).
        neuron_means: Float `(layers, feed_forward_dim)`: the mean of each activation, which a
            bias can stand for.
        num_tokens: Number of tokens measured.
    """

    layers: np.ndarray
    neurons: np.ndarray
    neuron_means: np.ndarray
    num_tokens: int


def measure_importance(
    model: GPT2Model,
    texts: Text | Sequence[Text],
    *,
    max_tokens: int = MAX_TOKENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Importance:
    """Measures what the layers and the feed-forward neurons of a model contribute to texts.

    Args:
        model: A model with a tokenizer.
        texts: A `str` is a text, a `Path` a UTF-8 file, as for `evaluation.evaluate`.
        max_tokens: Largest number of tokens to read, from the first on.
        on_progress: Called with the number of tokens read and of all.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If the texts have no token, are not UTF-8, or `max_tokens` is below 1.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=16, num_layers=3,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> measure_importance(model, "a text of any length").layers.shape
        (3,)
    """
    check_integer("max_tokens", max_tokens, minimum=1)
    ids = token_stream(model, texts, max_tokens)
    sums = _Sums(model)
    read = 0
    for rows in _batches(ids, model.config.context_length):
        with observing(sums.observer()):
            model(rows, num_logits=0, training=False)
        sums.add(rows.size)
        read += rows.size
        if on_progress is not None:
            on_progress(read, len(ids))
    return sums.importance()


def token_stream(model: GPT2Model, texts: Text | Sequence[Text], max_tokens: int) -> np.ndarray:
    """Returns the first ids of texts, each followed by the end token, int32 (tokens,).

    Raises:
        ValueError: If the texts have no token.
    """
    tokenizer, ids = model.require_tokenizer(), list[int]()
    enough = _LONGEST_TOKEN * max_tokens
    for document in encoded_documents(tokenizer, texts, max_characters=enough):
        ids += [*document, tokenizer.end_token_id]
        if len(ids) >= max_tokens:
            break
    return np.array(ids[:max_tokens], np.int32)


def _batches(ids: np.ndarray, context_length: int) -> Iterator[np.ndarray]:
    """Yields all ids as rows of the context, int32 (rows, time); the last row may be shorter."""
    whole = len(ids) // context_length
    rows = ids[: whole * context_length].reshape(whole, context_length)
    size = max(1, _BATCH_TOKENS // context_length)
    for start in range(0, whole, size):
        yield rows[start : start + size]
    if len(ids) % context_length:
        yield ids[None, whole * context_length :]


class _Sums:
    """The sums over tokens that the importance is computed from, in float64."""

    def __init__(self, model: GPT2Model) -> None:
        self._model, config = model, model.config
        self._num_tokens = 0
        self._cosines = np.zeros(config.num_layers)
        shape = (config.num_layers, config.feed_forward_dim)
        self._firsts, self._squares = np.zeros(shape), np.zeros(shape)
        self._before: dict[int, Any] = {}

    def observer(self) -> Observer:
        """Returns an observer that adds what it sees."""
        functions: dict[str, Callable[[Any, str], None]] = {}
        for layer in range(self._model.config.num_layers):
            functions |= {
                f"blocks.{layer}.hook_resid_pre": self._keep,
                f"blocks.{layer}.hook_resid_post": self._compare,
                f"blocks.{layer}.mlp.hook_post": self._add_neurons,
            }
        return Observer(self._model, functions)

    def _keep(self, value: Any, name: str) -> None:
        self._before[_layer_of(name)] = value

    def _compare(self, value: Any, name: str) -> None:
        before = ops.normalize(ops.cast(self._before.pop(_layer_of(name)), "float32"), axis=-1)
        after = ops.normalize(ops.cast(value, "float32"), axis=-1)
        self._cosines[_layer_of(name)] += float(ops.sum(before * after))

    def _add_neurons(self, value: Any, name: str) -> None:
        value = ops.cast(value, "float32")  # (batch, time, neurons)
        self._firsts[_layer_of(name)] += ops.convert_to_numpy(ops.sum(value, axis=(0, 1)))
        self._squares[_layer_of(name)] += ops.convert_to_numpy(ops.sum(value**2, axis=(0, 1)))

    def add(self, num_tokens: int) -> None:
        """Counts the tokens of a batch."""
        self._num_tokens += num_tokens

    def importance(self) -> Importance:
        """Returns what the sums tell."""
        means = self._firsts / self._num_tokens
        variances = np.maximum(self._squares / self._num_tokens - means**2, 0)
        norms = [
            (block.feed_forward.project.merged_kernel().astype("float64") ** 2).sum(axis=0)
            for block in self._model.decoder.blocks  # a kernel is (width, neurons)
        ]
        return Importance(
            1 - self._cosines / self._num_tokens,
            variances * np.array(norms),
            means,
            self._num_tokens,
        )


def _layer_of(name: str) -> int:
    return int(name.split(".")[1])
