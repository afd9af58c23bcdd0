"""Looks at everything that a model makes of a text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.understanding.exploration import Exploration, character_spans
from gpt2_keras.understanding.lens import lens_names, look_through, predict
from gpt2_keras.understanding.texts import ids_of, tokens_of, vocabulary_of
from gpt2_keras.validation import check_integer, check_list


def explore(
    model: GPT2Model,
    text: str | Sequence[int],
    k: int = 10,
    *,
    layers: Sequence[int] | None = None,
    start_token: bool | None = None,
    special_tokens: SpecialTokens | None = None,
    name: str | None = None,
) -> Exploration:
    """Runs a model on a text and returns what it expected, where it looked, and when it knew.

    Args:
        model: The model.
        text: The text; or its ids, which a model without tokenizer reads too.
        k: Number of candidates at each position; at most the vocabulary's size.
        layers: The layers whose attention is kept. By default all.
        start_token: Whether `<|endoftext|>` stands before the text, as before every document of
            GPT-2's training text, so that the first token is predicted too. By default if there
            is room for it; never before ids.
        special_tokens: The special tokens in the text that become their ids, see
            `GPT2Tokenizer.with_special_tokens_policy`; by default the tokenizer's policy.
        name: What the model is called on the page. By default its shape.

    Returns:
        The `Exploration`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the text is empty or longer than the context, it is a text and the model
            has no tokenizer, or `k` or a layer is out of range.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> exploration = explore(GPT2LM(config), [1, 2, 3], k=5)
        >>> exploration.attention.shape, exploration.lens.ids.shape
        ((2, 2, 3, 3), (5, 3, 5))
    """
    config = model.config
    check_integer("k", k, minimum=1, maximum=config.vocab_size)
    layers = _checked_layers(model, layers)
    ids, has_start = ids_of(model, text, start_token=start_token, special_tokens=special_tokens)
    points = lens_names(config.num_layers)
    patterns = {f"blocks.{layer}.attn.hook_pattern": layer for layer in layers}
    residuals: dict[str, Any] = {}
    attention = np.zeros((len(layers), config.num_heads, len(ids), len(ids)), "float16")

    def keep_residual(value: Any, name: str) -> None:
        residuals[name] = value

    def keep_pattern(value: Any, name: str) -> None:
        attention[layers.index(patterns[name])] = ops.convert_to_numpy(value)[0]

    functions = dict.fromkeys(points.values(), keep_residual)
    with observing(Observer(model, {**functions, **dict.fromkeys(patterns, keep_pattern)})):
        logits = model(ids[None], training=False)[0]  # (time, vocab)
    next_best = int(ops.convert_to_numpy(ops.argmax(logits[-1])))
    targets = np.append(ids[1:], next_best).astype("int32")
    log_probs = ops.log_softmax(logits, axis=-1)
    found = predict(log_probs, targets, k)
    lens = look_through(model, residuals, log_probs, targets, k)
    tokens, token_bytes = tokens_of(model, ids)
    starts, ends = character_spans([b"", *token_bytes[1:]] if has_start else token_bytes)
    named = {*ids.tolist(), *found.ids.ravel().tolist(), *lens.ids.ravel().tolist()}
    return Exploration(
        model=name or f"GPT-2, {config.num_layers} layers of {config.hidden_dim}",
        token_ids=ids,
        tokens=tokens,
        token_bytes=token_bytes,
        is_special=_are_special(model, ids),
        starts=starts,
        ends=ends,
        log_probs=np.append(np.float32(np.nan), found.log_probs[:-1]),
        ranks=np.append(np.int32(0), found.ranks[:-1]),
        entropies=found.entropies,
        candidate_ids=found.ids,
        candidate_probs=found.probs,
        vocabulary=vocabulary_of(model, named),
        word_start_log_probs=_word_start_log_probs(model, log_probs),
        layers=layers,
        attention=attention,
        lens=lens,
    )


def _checked_layers(model: GPT2Model, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Returns the layers that were asked for, in order; all for None."""
    count = model.config.num_layers
    if layers is None:
        return tuple(range(count))
    listed = check_list("layers", layers, "a list of layers")
    return tuple(
        sorted(
            {
                check_integer(f"layers[{index}]", layer, minimum=0, maximum=count - 1)
                for index, layer in enumerate(listed)
            }
        )
    )


def begins_word(token: bytes) -> bool:
    """Returns whether a token begins with whitespace, and so a new word.

    Example:
        >>> begins_word(b" the"), begins_word(b"ing")
        (True, False)
    """
    return token[:1].isspace()


def _are_special(model: GPT2Model, ids: np.ndarray) -> np.ndarray:
    """Returns which tokens are special, bool `(time,)`."""
    special = [] if model.tokenizer is None else list(model.tokenizer.special_tokens.values())
    return np.isin(ids, special)


def _word_start_log_probs(model: GPT2Model, log_probs: Any) -> np.ndarray:
    """Returns the log-probabilities that a word ends after each token, float32 `(time,)`."""
    tokenizer = model.tokenizer
    if tokenizer is None:
        return np.full(log_probs.shape[0], np.nan, "float32")
    starts = [each for each, data in enumerate(tokenizer.token_bytes) if begins_word(data)]
    starts = sorted({*starts, *tokenizer.special_tokens.values()})
    chosen = ops.take(log_probs, np.array(starts, "int32"), axis=1)
    return np.asarray(ops.convert_to_numpy(ops.logsumexp(chosen, axis=1)))
