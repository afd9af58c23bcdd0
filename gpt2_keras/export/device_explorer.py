"""The signature `explore` of a `.tflite` file: what a page shows of a text, on the device."""

from typing import Any

import tensorflow as tf

from gpt2_keras.export.text_graph import NUM_CANDIDATES, Tensors
from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.lens import lens_logits, lens_names


class DeviceExplorer:
    """What `gpt2_keras.understanding.explore` returns, as a graph of LiteRT's builtin ops.

    Args:
        model: The model.
    """

    def __init__(self, model: GPT2Model) -> None:
        self._model = model
        self._k = min(NUM_CANDIDATES, model.config.vocab_size)

    def explore(self, token_ids: Any) -> Tensors:
        """Looks into a text; see `Exploration`.

        Args:
            token_ids: int32 tensor `(tokens,)`, at least one and at most `context_length`;
                `start_token_id` of the file's metadata begins a text.

        Returns:
            `log_probs`, float32 `(tokens,)`: the log-probability of the token that follows each,
            after the last of the most likely; `entropies`, float32 `(tokens,)`: of the
            predictions; `attention`, float32 `(layers, heads, tokens, tokens)`; and the logit
            lens at `2 · layers + 1` points, of which the last is the prediction itself:
            `lens_ids`, int32 `(points, tokens, 10)`, the most likely tokens, `lens_probs`,
            float32, `lens_ranks`, int32 `(points, tokens)`, of the token that follows, and
            `lens_kl`, float32.
        """
        layers = self._model.config.num_layers
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(layers)]
        points = list(lens_names(layers).values())
        found: dict[str, Any] = {}

        def keep(value: Any, name: str) -> None:
            found[name] = value

        with observing(Observer(self._model, dict.fromkeys([*names, *points], keep))):
            logits = self._model(tf.expand_dims(token_ids, 0), training=False)[0]
        best = tf.argmax(logits[-1:], axis=-1, output_type=tf.int32)
        targets = tf.concat([token_ids[1:], best], axis=0)  # (tokens,)
        final = tf.nn.log_softmax(logits)  # (tokens, vocab)
        seen = [self._look(lens_logits(self._model, found[name])[0], final, targets)
                for name in points[:-1]]  # fmt: skip
        # The last point is the logits, which are not computed twice.
        seen.append(self._look(logits, final, targets))
        return {
            "log_probs": _own(final, targets)[:, 0],
            "entropies": -tf.reduce_sum(tf.exp(final) * final, axis=1),
            "attention": tf.concat([found[name] for name in names], axis=0),
            **{f"lens_{key}": tf.stack([each[key] for each in seen]) for key in seen[0]},
        }

    def _look(self, logits: tf.Tensor, final: tf.Tensor, targets: tf.Tensor) -> Tensors:
        """Returns a point of the lens; see `lens.predict`.

        Args:
            logits: float32 tensor `(tokens, vocab)` of the point.
            final: The log-probabilities of the model itself, of that shape.
            targets: int32 tensor `(tokens,)`.
        """
        log_probs = tf.nn.log_softmax(logits)
        top, ids = tf.math.top_k(log_probs, self._k)
        own, index = _own(log_probs, targets), tf.expand_dims(targets, 1)  # (tokens, 1)
        columns = tf.expand_dims(tf.range(self._model.config.vocab_size), 0)
        equal = tf.logical_and(tf.equal(log_probs, own), columns < index)
        earlier = tf.logical_or(log_probs > own, equal)
        return {
            "ids": ids,
            "probs": tf.exp(top),
            "ranks": 1 + tf.reduce_sum(tf.cast(earlier, tf.int32), axis=1),
            "kl": tf.reduce_sum(tf.exp(final) * (final - log_probs), axis=1),
        }


def _own(log_probs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the log-probabilities of the targets, `(tokens, 1)`."""
    return tf.gather(log_probs, tf.expand_dims(targets, 1), batch_dims=1)
