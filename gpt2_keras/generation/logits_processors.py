"""Logits processors: penalties, bans and forced tokens, as values and inside the graph."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt2_keras.generation.arrays import Array, xp
from gpt2_keras.generation.sampler import SamplingTensors
from gpt2_keras.generation.sampling import cond_any
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import (
    MAX_INT32,
    check_instance,
    check_integer,
    check_number,
    check_text,
    check_texts,
)

NO_TOKEN = -1  # the id of what is no token: padding, and columns not yet written


class ProcessorTensors(NamedTuple):
    """Logits processors as tensors, which all rows share."""

    logit_bias: Any  # float32 (vocab,), or (0,) for none: added to the logits
    bad_words: Any  # int32 (words, length): banned sequences, NO_TOKEN on the left
    forced_ids: Any  # int32 (count,): the first tokens of the new text
    stop_ids: Any  # int32 (count,): ids that finish a row, the end tokens first
    min_new_tokens: Any  # int32 (): number of tokens before a row may finish


class History(NamedTuple):
    """The text of each row so far."""

    token_ids: Any  # int32 (batch, length), NO_TOKEN where there is none
    first_new: Any  # int32 (): column of the first new token
    next_new: Any  # int32 (): column of the next token


def processor_tensors(
    vocab_size: int,
    stop_ids: Sequence[int],
    *,
    logit_bias: Mapping[int, float] | None = None,
    bad_words: Sequence[Sequence[int]] = (),
    forced_ids: Sequence[int] = (),
    min_new_tokens: int = 0,
) -> ProcessorTensors:
    """Returns logits processors as arrays.

    Args:
        vocab_size: Number of tokens.
        stop_ids: Ids that finish a row, at least one.
        logit_bias: Numbers to add to the logits of ids; minus infinity bans an id.
        bad_words: Banned sequences of ids.
        forced_ids: The first tokens of the new text.
        min_new_tokens: Number of tokens before a row may finish.
    """
    bias = np.zeros(vocab_size if logit_bias else 0, "float32")
    for token_id, value in (logit_bias or {}).items():
        bias[token_id] = value
    words = np.full((len(bad_words), max(map(len, bad_words), default=1)), NO_TOKEN, "int32")
    for row, word in zip(words, bad_words, strict=True):
        row[len(row) - len(word) :] = word
    return ProcessorTensors(
        bias,
        words,
        np.array(list(forced_ids), "int32"),
        np.array(list(stop_ids), "int32"),
        np.int32(min_new_tokens),
    )


def process_logits(
    logits: Array,
    history: History,
    sampling: SamplingTensors,
    processors: ProcessorTensors,
) -> Array:
    """Applies penalties and logits processors to the logits of the next token.

    What is not in use costs nothing: each is inside a condition.

    Args:
        logits: Float32 tensor `(batch, vocab)`.
        history: The text so far.
        sampling: Each row's settings.
        processors: The processors, which all rows share.

    Returns:
        Float32 tensor `(batch, vocab)`.
    """
    penalized = (
        (sampling.repetition_penalty != 1)
        | (sampling.presence_penalty != 0)
        | (sampling.frequency_penalty != 0)
    )
    sizes = sampling.no_repeat_ngram_size
    bias, words, forced = processors.logit_bias, processors.bad_words, processors.forced_ids
    step = history.next_new - history.first_new
    stages: list[tuple[Any, Callable[[Array], Array]]] = [
        (penalized, lambda x: _penalize(x, history, sampling))
    ]
    # In an exported graph a processor is known to be empty: then it adds nothing to the graph.
    if bias.shape[0] != 0:
        stages.append((xp.shape(bias)[0] > 0, lambda x: x + bias))
    stages.append((sizes > 0, lambda x: _ban_repeats(x, history, sizes)))
    if words.shape[0] != 0:
        stages.append((xp.shape(words)[0] > 0, lambda x: _ban_words(x, history, words)))
    if xp.static_value(processors.min_new_tokens) != 0:
        too_early = step < processors.min_new_tokens
        stages.append((too_early, lambda x: _ban_everywhere(x, processors.stop_ids)))
    if forced.shape[0] != 0:
        stages.append((step < xp.shape(forced)[0], lambda x: _force_token(x, forced[step])))
    for active, stage in stages:
        logits = cond_any(active, functools.partial(stage, logits), logits)
    return logits


def _counts(history: History, first: Any, vocab_size: Any) -> Array:
    """Counts each row's tokens from a column on; float32 (batch, vocab)."""
    length = xp.shape(history.token_ids)[1]
    counted = xp.expand_dims(xp.arange(length) >= first, 0) & (history.token_ids != NO_TOKEN)
    return xp.count_ids(history.token_ids, counted, vocab_size)


def _penalize(logits: Array, history: History, sampling: SamplingTensors) -> Array:
    """Applies the penalties to tokens of the prompt and the text."""
    vocab_size = xp.shape(logits)[1]
    seen = _counts(history, 0, vocab_size) > 0
    factor = xp.expand_dims(sampling.repetition_penalty, 1)
    repeated = xp.where(logits < 0, logits * factor, logits / factor)
    logits = xp.where(seen, repeated, logits)
    new = _counts(history, history.first_new, vocab_size)
    logits -= xp.expand_dims(sampling.frequency_penalty, 1) * new
    return logits - xp.expand_dims(sampling.presence_penalty, 1) * xp.cast(new > 0, "float32")


def _ban_repeats(logits: Array, history: History, sizes: Array) -> Array:
    """Bans tokens that would complete an n-gram of `sizes` tokens that the text has already."""
    ids, end = xp.asarray(history.token_ids), history.next_new
    length = xp.shape(ids)[1]
    columns = xp.arange(length)
    # Column j completes a repetition if the tokens before it are the last ones of the text.
    repeats = xp.expand_dims(columns < end, 0) & (ids != NO_TOKEN)  # (batch, length)

    def compare(back: Array, repeats: Array) -> tuple[Array, Array]:
        before = xp.gather(ids, xp.maximum(columns - back, 0), axis=1)  # (batch, length)
        before = xp.where(xp.expand_dims(columns >= back, 0), before, NO_TOKEN)
        last = ids[:, xp.maximum(end - back, 0)]  # (batch,)
        same = (before == xp.expand_dims(last, 1)) & (before != NO_TOKEN)
        # A row with shorter n-grams compares nothing so far back.
        return back + 1, repeats & (same | xp.expand_dims(back >= sizes, 1))

    longest = xp.minimum(xp.max(sizes), length)
    _, repeats = xp.while_loop(lambda back, _: back < longest, compare, (xp.constant(1), repeats))
    repeats &= xp.expand_dims(sizes > 0, 1)
    return _ban(logits, ids, repeats)


def _ban_words(logits: Array, history: History, words: Array) -> Array:
    """Bans the last token of each bad word whose other tokens end the text."""
    count = xp.shape(words)[1] - 1
    columns = history.next_new - count + xp.arange(count)
    ids = xp.gather(history.token_ids, xp.maximum(columns, 0), axis=1)  # (batch, length - 1)
    ids = xp.where(xp.expand_dims(columns >= 0, 0), ids, NO_TOKEN)
    # (batch, words, length - 1)
    heads = xp.expand_dims(words[:, :-1], 0)
    same = (xp.expand_dims(ids, 1) == heads) | (heads == NO_TOKEN)
    banned = xp.all(same, axis=2)  # (batch, words)
    return _ban(logits, xp.zeros_like(banned, "int32") + words[:, -1], banned)


def _ban(logits: Array, token_ids: Array, banned: Array) -> Array:
    """Sets logits to minus infinity at those ids of each row, (batch, count), that are banned."""
    return xp.where(xp.mark_ids(token_ids, banned, logits), -float("inf"), logits)


def _ban_everywhere(logits: Array, token_ids: Array) -> Array:
    """Sets logits to minus infinity at ids, (count,), of all rows."""
    return xp.where(xp.mark_everywhere(token_ids, logits), -float("inf"), logits)


def _force_token(logits: Array, token_id: Array) -> Array:
    """Bans every token but one."""
    vocab_size = xp.shape(logits)[1]
    return xp.where(xp.arange(vocab_size) == token_id, xp.zeros_like(logits), -float("inf"))


@dataclasses.dataclass(frozen=True)
class LogitsProcessors:
    """Logits processors for the new text, the same for every row.

    Args:
        min_new_tokens: Number of tokens before a text may end by itself.
        logit_bias: Numbers to add to the logits of token ids; `-math.inf` bans an id.
        bad_words: Strings whose tokens are banned as a sequence.
        bad_words_ids: Sequences of token ids that are banned.
        forced_prefix: The beginning of the new text.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a string is empty, or a number negative, NaN or plus infinity.

    Example:
        >>> LogitsProcessors(bad_words=["never"]).bad_words
        ('never',)
    """

    min_new_tokens: int = 0
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    bad_words: Sequence[str] = ()
    bad_words_ids: Sequence[Sequence[int]] = ()
    forced_prefix: str = ""

    def __post_init__(self) -> None:
        check_integer("min_new_tokens", self.min_new_tokens, minimum=0, maximum=MAX_INT32)
        check_text("forced_prefix", self.forced_prefix)
        object.__setattr__(self, "bad_words", check_strings("bad_words", self.bad_words))
        check_instance("bad_words_ids", self.bad_words_ids, Sequence, "a list of lists of ids")
        for index, word in enumerate(self.bad_words_ids):
            check_instance(f"bad_words_ids[{index}]", word, Sequence, "a list of token ids")
            if not word:
                raise ValueError(f"bad_words_ids[{index}] is empty. Leave it out for none.")
            for token_id in word:
                name = f"a token id of bad_words_ids[{index}]"
                check_integer(name, token_id, minimum=0, maximum=MAX_INT32)
        check_instance("logit_bias", self.logit_bias, Mapping, "a mapping of ids to numbers")
        for token_id, value in self.logit_bias.items():
            check_integer("a token id of logit_bias", token_id, minimum=0, maximum=MAX_INT32)
            if value != -math.inf:
                name = f"logit_bias[{token_id}]"
                check_number(name, value, advice="-math.inf bans the id.")

    def to_tensors(
        self,
        model: GPT2Model,
        stop_token_ids: Sequence[int] = (),
        special_tokens: SpecialTokens | None = None,
    ) -> ProcessorTensors:
        """Returns the processors as the decoding loop takes them.

        Args:
            model: A model with a tokenizer.
            stop_token_ids: More ids that finish a row.
            special_tokens: The special tokens in the strings that become their ids.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        tokenizer = model.require_tokenizer().with_special_tokens_policy(special_tokens)
        banned_ids = [token_id for word in self.bad_words_ids for token_id in word]
        ids = [*stop_token_ids, *self.logit_bias, *banned_ids]
        model.check_token_ids(np.array(ids, "int64"))
        # A word may begin a text, or follow a space that belongs to its first token.
        words = [tokenizer.encode(form) for word in self.bad_words for form in (word, " " + word)]
        return processor_tensors(
            model.config.vocab_size,
            [*model.end_token_ids, *stop_token_ids],
            logit_bias=self.logit_bias,
            bad_words=[*words, *self.bad_words_ids],
            forced_ids=tokenizer.encode(self.forced_prefix),
            min_new_tokens=self.min_new_tokens,
        )


def check_strings(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    """Returns none, one or several strings as a tuple; none of them may be empty."""
    if not isinstance(value, str) and not value and isinstance(value, Sequence):
        return ()
    strings = tuple(check_texts(name, value))
    if not all(strings):
        raise ValueError(f"{name}={strings!r} has an empty string. Leave it out for none.")
    return strings
