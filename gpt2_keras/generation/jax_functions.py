"""The functions of a model as JAX compiles them: for buckets of lengths, each once.

Prompts are padded on the left, and the cache is longer than asked for, so that lengths are
powers of two: a text within a bucket compiles nothing. What is padded is masked, as the
padding of a batch is. A loop is one program on the device; the cache of its last state is
donated, and written in place.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.log_probs import (
    continuation_log_probs,
    most_likely_next_tokens,
    text_log_probs,
)
from gpt2_keras.generation.specs import INTEGER
from gpt2_keras.model import GPT2Model

SMALLEST_BUCKET = 16


def bucket(length: int) -> int:
    """Returns the length that is compiled for: the next power of two.

    Example:
        >>> [bucket(length) for length in (1, 16, 17, 100)]
        [16, 16, 32, 128]
    """
    return max(SMALLEST_BUCKET, 1 << (length - 1).bit_length())


def compile_function(
    model: GPT2Model, function: "functools.partial[Any]", signature: Sequence[Any]
) -> Callable[..., Any]:
    """Returns a function for `call_cached`.

    Its first argument is token ids, padded on the left; integers are compiled in.
    """
    static = [index for index, spec in enumerate(signature) if spec == INTEGER]
    models = [each for each in function.args if isinstance(each, keras.Model)]
    compiled = _compile(models, function, static=static)

    def run(token_ids: Any, *arguments: Any) -> Any:
        numbers = (int(each) if isinstance(each, np.integer) else each for each in arguments)
        return compiled(_pad_left(model, token_ids), *numbers)

    return run


class CompiledModel:
    """The functions that `generate`, `stream` and `score` call.

    Args:
        model: The model. Its weights may change later; its shape may not.
        end_token_id: The id that stands before every text to score.
    """

    def __init__(self, model: GPT2Model, end_token_id: int) -> None:
        self._model = model

        def made(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
            return _compile([model], functools.partial(function, model), **how)

        self._start = made(decoding_loop.start, static=(4,))
        self._advance = made(decoding_loop.advance, static=(4,), donated=(0,))
        self.prefill = made(decoding_loop.prefill)
        log_probs = functools.partial(text_log_probs, end_token_id=end_token_id)
        self._text_log_probs = made(log_probs)
        self._continuation_log_probs = made(continuation_log_probs)
        self._next_tokens = made(most_likely_next_tokens, static=(2,))

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
        token_ids = _pad_left(self._model, token_ids)
        state: decoding_loop.DecodingState = self._start(
            token_ids, num_tokens, sampling, processors, bucket(int(max_new_tokens)), prefix
        )
        return state

    def advance(
        self, state: decoding_loop.DecodingState, sampling: Any, processors: Any, max_steps: Any
    ) -> tuple[np.ndarray, np.ndarray, decoding_loop.DecodingState]:
        """See `decoding_loop.advance`."""
        before = int(state.history.next_new)
        ids, log_probs, state = self._advance(
            state, sampling, processors, np.int32(max_steps), bucket(int(max_steps))
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
        padded = _pad_left(self._model, token_ids)
        padding = padded.shape[1] - token_ids.shape[1]
        return np.asarray(self._continuation_log_probs(padded, num_tokens))[:, padding:]

    def next_tokens(self, token_ids: np.ndarray, num_tokens: np.ndarray, k: Any) -> Any:
        """See `log_probs.most_likely_next_tokens`."""
        return self._next_tokens(_pad_left(self._model, token_ids), num_tokens, int(k))


def _bucket_of(model: GPT2Model, time: int) -> int:
    """Returns the bucket of a number of tokens, at most the context."""
    return min(bucket(time), model.config.context_length)


def _pad_left(model: GPT2Model, token_ids: np.ndarray) -> np.ndarray:
    padding = _bucket_of(model, token_ids.shape[1]) - token_ids.shape[1]
    return np.pad(token_ids, ((0, 0), (padding, 0)))


def _compile(
    models: Sequence[keras.Model],
    function: Callable[..., Any],
    *,
    static: Sequence[int] = (),
    donated: Sequence[int] = (),
) -> Callable[..., Any]:
    """Returns a compiled function, which reads the weights of models as they are when called.

    Args:
        models: The models.
        function: The function of arrays.
        static: Which of its arguments are compiled in.
        donated: Which of its arguments give their memory to the results.
    """
    variables = [variable for model in models for variable in model.variables]

    def run(values: Any, *arguments: Any) -> Any:
        pairs = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return function(*arguments)

    compiled = jax.jit(
        run,
        static_argnums=tuple(index + 1 for index in static),
        donate_argnums=tuple(index + 1 for index in donated),
    )
    return lambda *arguments: compiled([variable.value for variable in variables], *arguments)
