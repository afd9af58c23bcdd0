"""The checks of a request to a SavedModel, inside its graph."""

from typing import Any

import tensorflow as tf

from gpt2_keras.generation.sampling import SamplingTensors, greedy_numbers


def require(holds: tf.Tensor, received: str, values: tf.Tensor, rule: str) -> None:
    """Makes the graph fail with InvalidArgument where a rule does not hold everywhere.

    The message is `assertion failed: [received] [values] [rule]`.

    Args:
        holds: Bool tensor.
        received: What the values are, as `name=`.
        values: What to show of the request.
        rule: What is wrong with them, the rule, and what to do.
    """
    tf.debugging.Assert(tf.reduce_all(holds), [received, values, rule], summarize=4)


def check_texts(texts: tf.Tensor) -> None:
    """Makes the graph fail on texts that are empty or not UTF-8; string (batch,)."""
    sizes = tf.strings.length(texts)
    require(sizes > 0, "sizes of text=", sizes, "have a 0: a text is empty. Send a byte at least.")
    valid = tf.equal(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), texts)
    invalid = tf.squeeze(tf.where(~valid), axis=1)
    require(valid, "rows of text=", invalid, "are not valid UTF-8. Encode them in UTF-8.")


def check_fit(lengths: tf.Tensor, room: tf.Tensor, context_length: int) -> None:
    """Makes the graph fail on texts with more tokens than there is room for; int32 (batch,)."""
    rule = (
        f"do not fit into the context of {context_length} tokens: a text has more tokens than its "
        "new ones leave room for. Shorten the text, or ask for fewer new tokens."
    )
    require(lengths <= room, "tokens of text, and room=", tf.stack([lengths, room]), rule)


def per_row(name: str, values: tf.Tensor, batch_size: tf.Tensor) -> tf.Tensor:
    """Returns a parameter of each row: one value for all, or one for each; (batch,)."""
    size = tf.size(values)
    rule = "differ. Send one value, or one per text."
    fits = tf.equal(size, batch_size) | tf.equal(size, 1)
    require(fits, f"numbers of {name}, and of text=", tf.stack([size, batch_size]), rule)
    # A wrong size must fail above, with our message, and not here.
    index = tf.minimum(tf.range(batch_size), size - 1)
    return tf.gather(values, tf.maximum(index, 0))


def check_max_new_tokens(values: tf.Tensor) -> None:
    """Makes the graph fail on a number of new tokens below 1; int32 (batch,)."""
    rule = "is less than 1. Use an integer of at least 1."
    require(values >= 1, "max_new_tokens=", values, rule)


def sampling_of_request(
    batch_size: tf.Tensor,
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
            "is negative or not finite. Use a finite number of at least 0.",
        ),
        ("top_k", rows["top_k"] >= 0, "is less than 0. Use at least 0; 0 keeps all tokens."),
        (
            "top_p",
            (top_p > 0) & (top_p <= 1),
            "is out of range. Use a number above 0 and at most 1.",
        ),
        (
            "repetition_penalty",
            tf.math.is_finite(penalty) & (penalty > 0),
            "is out of range. Use a finite number above 0.",
        ),
    ):
        require(holds, f"{name}=", rows[name], rule)
    return greedy_numbers()._replace(**rows)
