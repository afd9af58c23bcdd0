"""What the next token may be, given the text so far: penalties and rules, inside the graph."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from gpt2_keras.generation.sampling import SamplingTensors, cond_any
from gpt2_keras.model import GPT2Model

NO_TOKEN = -1  # fills what is no token: padding, and columns not yet written


class Constraints(NamedTuple):
    """Rules that all rows share, as tensors."""

    logit_bias: Any  # float32 (vocab,), or (0,) for none: added to the logits
    bad_words: Any  # int32 (words, length): sequences that must not come, NO_TOKEN on the left
    forced_ids: Any  # int32 (count,): what the new text begins with
    stop_ids: Any  # int32 (count,): what finishes a row, the end token included
    min_new_tokens: Any  # int32 (): how many tokens come before a row may finish


class History(NamedTuple):
    """The text of each row so far."""

    token_ids: Any  # int32 (batch, length), NO_TOKEN where there is none
    first_new: Any  # int32 (): column of the first new token
    next_new: Any  # int32 (): column of the next token


def make_constraints(
    vocab_size: int,
    end_token_id: int,
    *,
    logit_bias: Mapping[int, float] | None = None,
    bad_words: Sequence[Sequence[int]] = (),
    forced_ids: Sequence[int] = (),
    stop_ids: Sequence[int] = (),
    min_new_tokens: int = 0,
) -> Constraints:
    """Returns rules as arrays.

    Args:
        vocab_size: Number of tokens.
        end_token_id: Always finishes a row.
        logit_bias: Numbers to add to the logits of ids; minus infinity forbids.
        bad_words: Sequences of ids that must not come.
        forced_ids: What the new text begins with.
        stop_ids: More ids that finish a row.
        min_new_tokens: How many tokens come before a row may finish.
    """
    bias = np.zeros(vocab_size if logit_bias else 0, "float32")
    for token_id, value in (logit_bias or {}).items():
        bias[token_id] = value
    words = np.full((len(bad_words), max(map(len, bad_words), default=1)), NO_TOKEN, "int32")
    for row, word in zip(words, bad_words, strict=True):
        row[len(row) - len(word) :] = word
    return Constraints(
        bias,
        words,
        np.array(list(forced_ids), "int32"),
        np.array([end_token_id, *stop_ids], "int32"),
        np.int32(min_new_tokens),
    )


def no_rules(vocab_size: int, end_token_id: int) -> Constraints:
    """Returns, for an artifact, constants that say there are none but the end token."""
    return Constraints(*map(tf.constant, make_constraints(vocab_size, end_token_id)))


def constraint_specs() -> Constraints:
    """Returns the signature of these tensors in a graph."""
    ids = tf.TensorSpec([None], tf.int32)
    return Constraints(
        logit_bias=tf.TensorSpec([None], tf.float32),
        bad_words=tf.TensorSpec([None, None], tf.int32),
        forced_ids=ids,
        stop_ids=ids,
        min_new_tokens=tf.TensorSpec([], tf.int32),
    )


def constrain(
    logits: tf.Tensor,
    history: History,
    sampling: SamplingTensors,
    constraints: Constraints,
) -> tf.Tensor:
    """Applies penalties and rules to the logits of the next token.

    What is not in use costs nothing: each is behind a condition.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        history: The text so far.
        sampling: Each row's settings.
        constraints: The shared rules.

    Returns:
        Float32 tensor `(batch, vocab)`.
    """
    penalised = (
        (sampling.repetition_penalty != 1)
        | (sampling.presence_penalty != 0)
        | (sampling.frequency_penalty != 0)
    )
    sizes = sampling.no_repeat_ngram_size
    bias, words, forced = constraints.logit_bias, constraints.bad_words, constraints.forced_ids
    step = history.next_new - history.first_new
    stages: list[tuple[Any, Callable[[tf.Tensor], tf.Tensor]]] = [
        (penalised, lambda x: _penalise(x, history, sampling))
    ]
    # Of an artifact it is known that a rule is empty: then its stage is no part of the graph.
    if bias.shape[0] != 0:
        stages.append((tf.size(bias) > 0, lambda x: x + bias))
    stages.append((sizes > 0, lambda x: _forbid_repeats(x, history, sizes)))
    if words.shape[0] != 0:
        stages.append((tf.shape(words)[0] > 0, lambda x: _forbid_words(x, history, words)))
    if tf.get_static_value(constraints.min_new_tokens) != 0:
        too_early = step < constraints.min_new_tokens
        stages.append((too_early, lambda x: _forbid(x, None, constraints.stop_ids)))
    if forced.shape[0] != 0:
        stages.append((step < tf.shape(forced)[0], lambda x: _force(x, forced[step])))
    for active, stage in stages:
        logits = cond_any(active, functools.partial(stage, logits), logits)
    return logits


def _counts(history: History, first: Any, vocab_size: Any) -> tf.Tensor:
    """Counts each row's tokens from a column on; float32 (batch, vocab)."""
    batch_size, length = tf.unstack(tf.shape(history.token_ids))
    counted = tf.expand_dims(tf.range(length) >= first, 0) & (history.token_ids != NO_TOKEN)
    rows = tf.expand_dims(tf.range(batch_size), 1) * vocab_size
    # Negative segments are left out.
    places = tf.where(counted, rows + history.token_ids, -1)
    ones = tf.ones([batch_size * length])
    sums = tf.math.unsorted_segment_sum(ones, tf.reshape(places, [-1]), batch_size * vocab_size)
    return tf.reshape(sums, [batch_size, vocab_size])


def _penalise(logits: tf.Tensor, history: History, sampling: SamplingTensors) -> tf.Tensor:
    """Makes tokens less likely that prompt or text have."""
    vocab_size = tf.shape(logits)[1]
    seen = _counts(history, 0, vocab_size) > 0
    factor = tf.expand_dims(sampling.repetition_penalty, 1)
    repeated = tf.where(logits < 0, logits * factor, logits / factor)
    logits = tf.where(seen, repeated, logits)
    new = _counts(history, history.first_new, vocab_size)
    logits -= tf.expand_dims(sampling.frequency_penalty, 1) * new
    return logits - tf.expand_dims(sampling.presence_penalty, 1) * tf.cast(new > 0, tf.float32)


def _forbid_repeats(logits: tf.Tensor, history: History, sizes: tf.Tensor) -> tf.Tensor:
    """Forbids tokens that would end a sequence of `sizes` tokens that was there before."""
    ids, end = history.token_ids, history.next_new
    length = tf.shape(ids)[1]
    columns = tf.range(length)
    # Column j repeats if the tokens before it are those before the end.
    repeats = tf.expand_dims(columns < end, 0) & (ids != NO_TOKEN)  # (batch, length)

    def compare(back: tf.Tensor, repeats: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        before = tf.gather(ids, tf.maximum(columns - back, 0), axis=1)  # (batch, length)
        before = tf.where(tf.expand_dims(columns >= back, 0), before, NO_TOKEN)
        last = ids[:, tf.maximum(end - back, 0)]  # (batch,)
        same = (before == tf.expand_dims(last, 1)) & (before != NO_TOKEN)
        # A row with shorter sequences has nothing to compare so far back.
        return back + 1, repeats & (same | tf.expand_dims(back >= sizes, 1))

    longest = tf.minimum(tf.reduce_max(sizes), length)
    _, repeats = tf.while_loop(lambda back, _: back < longest, compare, (tf.constant(1), repeats))
    repeats &= tf.expand_dims(sizes > 0, 1)
    places = tf.where(repeats)  # (found, 2)
    return _forbid(logits, tf.cast(places[:, 0], tf.int32), tf.gather_nd(ids, places))


def _forbid_words(logits: tf.Tensor, history: History, words: tf.Tensor) -> tf.Tensor:
    """Forbids the last token of each word whose other tokens the text ends with."""
    count = tf.shape(words)[1] - 1
    columns = history.next_new - count + tf.range(count)
    ids = tf.gather(history.token_ids, tf.maximum(columns, 0), axis=1)  # (batch, length - 1)
    ids = tf.where(tf.expand_dims(columns >= 0, 0), ids, NO_TOKEN)
    # (batch, words, length - 1)
    heads = tf.expand_dims(words[:, :-1], 0)
    same = (tf.expand_dims(ids, 1) == heads) | (heads == NO_TOKEN)
    places = tf.where(tf.reduce_all(same, axis=2))  # (found, 2): row, word
    return _forbid(logits, tf.cast(places[:, 0], tf.int32), tf.gather(words[:, -1], places[:, 1]))


def _forbid(logits: tf.Tensor, rows: tf.Tensor | None, token_ids: tf.Tensor) -> tf.Tensor:
    """Sets logits to minus infinity at pairs of a row and an id, or at ids of all rows."""
    shape = tf.shape(logits)
    if rows is None:
        rows, shape = tf.zeros_like(token_ids), tf.stack([1, shape[1]])
    places = tf.stack([rows, token_ids], axis=1)
    forbidden = tf.scatter_nd(places, tf.ones_like(token_ids), shape) > 0
    return tf.where(forbidden, -float("inf"), logits)


def _force(logits: tf.Tensor, token_id: tf.Tensor) -> tf.Tensor:
    """Forbids every token but one."""
    vocab_size = tf.shape(logits)[1]
    return tf.where(tf.range(vocab_size) == token_id, tf.zeros_like(logits), -float("inf"))


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules for the new text, the same for every row.

    Args:
        min_new_tokens: How many tokens come before a text may end by itself.
        stop: String or strings at which a text ends, in bytes, wherever tokens
            begin; they are left out.
        stop_ids: Token ids that end a text, as `<|endoftext|>` always does; they
            are left out.
        logit_bias: Numbers to add to the logits of token ids; `-math.inf`
            forbids an id.
        bad_words: Strings whose tokens must not come in a row.
        forced_prefix: What the new text begins with.

    Raises:
        ValueError: If a string is empty, a number negative or NaN.

    Example:
        >>> Rules(stop="END").stop
        ('END',)
    """

    min_new_tokens: int = 0
    stop: str | Sequence[str] = ()
    stop_ids: Sequence[int] = ()
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    bad_words: Sequence[str] = ()
    forced_prefix: str = ""

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for name in ("stop", "bad_words"):
            strings = getattr(self, name)
            if isinstance(strings, str) or not all(strings):
                raise ValueError(
                    f"`{name}` must be strings, none of them empty. "
                    f"Received: {name}={strings!r}. Leave it out for none."
                )
        if self.min_new_tokens < 0:
            raise ValueError(
                "`min_new_tokens` must be at least 0. "
                f"Received: min_new_tokens={self.min_new_tokens}. 0 lets a text end at once."
            )
        for token_id, value in self.logit_bias.items():
            if math.isnan(value) or value == math.inf:
                raise ValueError(
                    "A logit bias must be a number below infinity. "
                    f"Received: logit_bias={{{token_id}: {value}}}. -math.inf forbids an id."
                )

    def to_constraints(self, model: GPT2Model) -> Constraints:
        """Returns the rules as the decoding loop takes them.

        Args:
            model: A model with a tokenizer.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        tokenizer = model.require_tokenizer()
        model.check_token_ids(np.array([*self.stop_ids, *self.logit_bias], "int64"))
        # A word may begin a text, or follow a space that belongs to its first token.
        words = [tokenizer.encode(form) for word in self.bad_words for form in (word, " " + word)]
        return make_constraints(
            model.config.vocab_size,
            tokenizer.end_token_id,
            logit_bias=self.logit_bias,
            bad_words=words,
            forced_ids=tokenizer.encode(self.forced_prefix),
            stop_ids=self.stop_ids,
            min_new_tokens=self.min_new_tokens,
        )
