"""The checks of a request to a SavedModel, inside its graph."""

from typing import Any

import tensorflow as tf

from gpt2_keras.generation.sampler import SamplingTensors


def require(holds: tf.Tensor, message: str, *values: tf.Tensor) -> None:
    """Makes the graph fail with InvalidArgument where a rule does not hold everywhere.

    Args:
        holds: Bool tensor.
        message: What was received and what is wrong with it, the rule, and what to do;
            with a `{}` for each of the values.
        values: What to show of the request.
    """
    tf.debugging.Assert(tf.reduce_all(holds), [tf.strings.format(message, values)])


def check_texts(texts: tf.Tensor) -> None:
    """Makes the graph fail on texts that are empty or not UTF-8; string (batch,)."""
    valid = tf.equal(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), texts)
    for holds, message in (
        (tf.not_equal(texts, ""), "text is empty in rows {}. Send at least one byte per text."),
        (valid, "text is not valid UTF-8 in rows {}. Encode it in UTF-8."),
    ):
        require(holds, message, tf.squeeze(tf.where(~holds), axis=1))


def check_fit(lengths: tf.Tensor, room: tf.Tensor, context_length: int) -> None:
    """Makes the graph fail on texts with more tokens than there is room for; int32 (batch,)."""
    message = (
        f"texts of {{}} tokens do not fit into the context of {context_length} tokens: their new "
        "tokens leave room for {}. Shorten the text, or ask for fewer new tokens."
    )
    require(lengths <= room, message, lengths, room)


def per_row(name: str, values: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
    """Returns a parameter of each row: one value for all, or one for each; (batch,)."""
    size = tf.size(values)
    fits = tf.equal(size, batch_size) | tf.equal(size, 1)
    message = f"{name} has {{}} values for {{}} texts. Send one value, or one per text."
    require(fits, message, size, batch_size)
    # A wrong size must fail above, with our message, and not here.
    index = tf.minimum(tf.range(batch_size), size - 1)
    return tf.gather(values, tf.maximum(index, 0))


def check_max_new_tokens(values: tf.Tensor) -> None:
    """Makes the graph fail on a number of new tokens below 1; int32 (batch,)."""
    require(values >= 1, "max_new_tokens={} is less than 1. Use integers of at least 1.", values)


def sampling_of_request(
    batch_size: tf.Tensor,
    defaults: SamplingTensors,
    *,
    temperature: Any,
    top_k: Any,
    top_p: Any,
    repetition_penalty: Any,
    seed: Any,
) -> SamplingTensors:
    """Returns a request's sampling parameters, each checked as `generation.Sampler` does.

    Args:
        batch_size: Int32 scalar.
        defaults: The numbers that a request does not have, one for all rows.
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
    temperature, penalty, top_p = (
        rows[name] for name in ("temperature", "repetition_penalty", "top_p")
    )
    # NaN compares as false with everything.
    for name, holds, rule in (
        (
            "temperature",
            tf.math.is_finite(temperature) & (temperature >= 0),
            "is negative or not finite. Use finite numbers of at least 0.",
        ),
        ("top_k", rows["top_k"] >= 0, "is less than 0. Use integers of at least 0; 0 keeps all."),
        (
            "top_p",
            (top_p > 0) & (top_p <= 1),
            "is out of range. Use numbers above 0 and at most 1.",
        ),
        (
            "repetition_penalty",
            tf.math.is_finite(penalty) & (penalty > 0),
            "is out of range. Use finite numbers above 0.",
        ),
    ):
        require(holds, f"{name}={{}} {rule}", rows[name])
    return defaults._replace(**rows)
