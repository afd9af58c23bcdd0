"""Functions of static shapes, compiled for buckets of lengths, each once.

Prompts are padded on the left, and the cache is longer than asked for, so that lengths are
powers of two: a text within a bucket compiles nothing. What is padded is masked, as the
padding of a batch is. Greedy decoding, sampling and penalties are compiled apart.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.log_probs import (
    continuation_log_probs,
    most_likely_next_tokens,
    text_log_probs,
)
from gpt2_keras.generation.sampler import SamplingTensors, unused_fields, with_constants
from gpt2_keras.model import GPT2Model

SMALLEST_BUCKET = 16


def bucket(length: int) -> int:
    """Returns the length that is compiled for: the next power of two.

    Example:
        >>> [bucket(length) for length in (1, 16, 17, 100)]
        [16, 16, 32, 128]
    """
    return max(SMALLEST_BUCKET, 1 << (length - 1).bit_length())


def pad_left(model: GPT2Model, token_ids: np.ndarray) -> np.ndarray:
    """Returns prompts with columns on the left, as many as their bucket has."""
    padding = _bucket_of(model, token_ids.shape[1]) - token_ids.shape[1]
    return np.pad(token_ids, ((0, 0), (padding, 0)))


class Compile(Protocol):
    """Compiles a function of a model and of arrays, for each combination of their shapes."""

    def __call__(
        self, function: Callable[..., Any], *, static: tuple[int, ...], donated: tuple[int, ...]
    ) -> Callable[..., Any]:
        """Returns the compiled function.

        Args:
            function: The function of arrays.
            static: Which of its arguments are compiled in.
            donated: Which of its arguments may give their memory to the results.
        """


class BucketedModel:
    """The functions that `generate`, `stream` and `score` call.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that stands before every text to score.
        compile_function: Compiles each of them.
    """

    def __init__(self, model: GPT2Model, end_token_id: int, compile_function: Compile) -> None:
        self._model = model

        def made(function: Callable[..., Any], *static: int, donated: tuple[int, ...] = ()) -> Any:
            bound = functools.partial(function, model)
            return compile_function(bound, static=static, donated=donated)

        self._start = made(_start, 4, 6)
        self._advance = made(_advance, 4, 5, donated=(0,))
        self.prefill = made(decoding_loop.prefill)
        log_probs = functools.partial(text_log_probs, end_token_id=end_token_id)
        self._text_log_probs = made(log_probs)
        self._continuation_log_probs = made(continuation_log_probs)
        self._next_tokens = made(most_likely_next_tokens, 2)

    def start(
        self,
        token_ids: np.ndarray,
        num_tokens: np.ndarray,
        sampling: Any,
        processors: Any,
        max_new_tokens: Any,
        prefix: decoding_loop.Prefix,
    ) -> decoding_loop.DecodingState:
        """See `decoding_loop.start`."""
        token_ids = pad_left(self._model, token_ids)
        count, unused = bucket(int(max_new_tokens)), unused_fields(sampling)
        state: decoding_loop.DecodingState = self._start(
            token_ids, num_tokens, sampling, processors, count, prefix, unused
        )
        return state

    def advance(
        self, state: decoding_loop.DecodingState, sampling: Any, processors: Any, max_steps: Any
    ) -> tuple[np.ndarray, np.ndarray, decoding_loop.DecodingState]:
        """See `decoding_loop.advance`."""
        before = int(state.history.next_new)
        static = bucket(int(max_steps)), unused_fields(sampling)
        ids, log_probs, state = self._advance(
            state, sampling, processors, np.int32(max_steps), *static
        )
        steps = int(state.history.next_new) - before
        return np.asarray(ids)[:, :steps], np.asarray(log_probs)[:, :steps], state

    def text_log_probs(self, token_ids: np.ndarray, num_tokens: np.ndarray) -> np.ndarray:
        """See `log_probs.text_log_probs`."""
        time = token_ids.shape[1]
        padding = _bucket_of(self._model, time) - time
        padded = np.pad(token_ids, ((0, 0), (0, padding)))
        return np.asarray(self._text_log_probs(padded, num_tokens))[:, :time]

    def continuation_log_probs(self, token_ids: np.ndarray, num_tokens: np.ndarray) -> np.ndarray:
        """See `log_probs.continuation_log_probs`."""
        padded = pad_left(self._model, token_ids)
        padding = padded.shape[1] - token_ids.shape[1]
        return np.asarray(self._continuation_log_probs(padded, num_tokens))[:, padding:]

    def next_tokens(self, token_ids: np.ndarray, num_tokens: np.ndarray, k: Any) -> Any:
        """See `log_probs.most_likely_next_tokens`."""
        return self._next_tokens(pad_left(self._model, token_ids), num_tokens, int(k))


def _start(
    model: GPT2Model,
    token_ids: Any,
    num_tokens: Any,
    sampling: SamplingTensors,
    processors: Any,
    max_new_tokens: int,
    prefix: decoding_loop.Prefix,
    unused: tuple[str, ...],
) -> Any:
    """`decoding_loop.start` without the stages that no row uses, which take half of compiling."""
    sampling = with_constants(sampling, unused)
    return decoding_loop.start(
        model, token_ids, num_tokens, sampling, processors, max_new_tokens, prefix
    )


def _advance(
    model: GPT2Model,
    state: Any,
    sampling: SamplingTensors,
    processors: Any,
    max_steps: Any,
    static_max_steps: int,
    unused: tuple[str, ...],
) -> Any:
    """`decoding_loop.advance`; see `_start`."""
    sampling = with_constants(sampling, unused)
    return decoding_loop.advance(model, state, sampling, processors, max_steps, static_max_steps)


def _bucket_of(model: GPT2Model, time: int) -> int:
    """Returns the bucket of a number of tokens, at most the context."""
    return min(bucket(time), model.config.context_length)
