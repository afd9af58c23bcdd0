"""What a request to an artifact may hold, checked inside the graph."""

from typing import Any

import tensorflow as tf

from gpt2_keras.generation.sampling import SamplingTensors, greedy_numbers


def require(holds: tf.Tensor, sentence: str, received: tf.Tensor) -> None:
    """Makes the graph fail with InvalidArgument where a rule does not hold everywhere.

    Args:
        holds: Bool tensor.
        sentence: The rule, and what to do.
        received: What to show of the request, after the sentence.
    """
    tf.debugging.Assert(tf.reduce_all(holds), [f"{sentence} Received:", received], summarize=4)


def check_texts(texts: tf.Tensor) -> None:
    """Makes the graph refuse texts that are empty or no UTF-8; string (batch,)."""
    sizes = tf.strings.length(texts)
    require(sizes > 0, "A text must not be empty. Sizes in bytes, one a row.", sizes)
    valid = tf.equal(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), texts)
    invalid = tf.squeeze(tf.where(~valid), axis=1)
    require(valid, "A text must be valid UTF-8. Rows that are not, counted from 0.", invalid)


def check_fit(lengths: tf.Tensor, room: tf.Tensor, context_length: int) -> None:
    """Makes the graph refuse texts with more tokens than there is room; both int32 (batch,)."""
    sentence = (
        f"A text and its new tokens must fit into the context of {context_length} tokens. "
        "Shorten the text, or ask for fewer new tokens. Tokens of each text, then room for it."
    )
    require(lengths <= room, sentence, tf.stack([lengths, room]))


def per_row(name: str, values: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
    """Returns a parameter of each row: one value for all, or one for each; (batch,)."""
    size = tf.size(values)
    sentence = f"`{name}` must have one value, or one a text. Values, texts."
    require(tf.equal(size, batch_size) | tf.equal(size, 1), sentence, tf.stack([size, batch_size]))
    # A wrong size must fail above, with our sentence, and not here.
    index = tf.minimum(tf.range(batch_size), size - 1)
    return tf.gather(values, tf.maximum(index, 0))


def check_limits(max_new_tokens: tf.Tensor) -> None:
    """Makes the graph refuse a number of new tokens below 1; int32 (batch,)."""
    require(max_new_tokens >= 1, "`max_new_tokens` must be at least 1.", max_new_tokens)


def sampling_of_request(
    batch_size: tf.Tensor,
    *,
    temperature: Any,
    top_k: Any,
    top_p: Any,
    repetition_penalty: Any,
    seed: Any,
) -> SamplingTensors:
    """Returns a request's sampling parameters, each checked as `samplers.Sampler` does.

    Args:
        batch_size: Int32 scalar.
        temperature, top_p, repetition_penalty: Float32 tensors `(batch,)` or `(1,)`.
        top_k, seed: Int32 tensors `(batch,)` or `(1,)`.
    """
    given = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
    }
    rows = {name: per_row(name, values, batch_size) for name, values in given.items()}
    temperature, penalty = rows["temperature"], rows["repetition_penalty"]
    # NaN compares as false with everything.
    finite = tf.math.is_finite(temperature) & (temperature >= 0)
    require(finite, "`temperature` must be a finite number of at least 0.", temperature)
    require(rows["top_k"] >= 0, "`top_k` must be at least 0; 0 keeps all tokens.", rows["top_k"])
    share = (rows["top_p"] > 0) & (rows["top_p"] <= 1)
    require(share, "`top_p` must be above 0 and at most 1.", rows["top_p"])
    positive = tf.math.is_finite(penalty) & (penalty > 0)
    require(positive, "`repetition_penalty` must be a finite number above 0.", penalty)
    return greedy_numbers()._replace(**rows)
