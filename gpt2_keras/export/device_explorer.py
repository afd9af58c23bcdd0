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
            `candidate_ids`, int32 `(tokens, 10)`, and `candidate_probs`, float32: the most
            likely tokens after each; `log_probs`, float32 `(tokens,)`, and `ranks`, int32: of
            the token that follows each, after the last of the most likely; `entropies`, float32
            `(tokens,)`; `attention`, float32 `(layers, heads, tokens, tokens)`; `lens_ids`,
            int32 `(points, tokens, 10)`, `lens_probs`, float32, `lens_ranks`, int32 `(points,
            tokens)`, and `lens_kl`, float32: the logit lens at `2 · layers + 1` points.
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
        own = self._predict(final, targets)
        lens: dict[str, list[tf.Tensor]] = {"ids": [], "probs": [], "ranks": [], "kl": []}
        for name in points:
            log_probs = tf.nn.log_softmax(lens_logits(self._model, found[name])[0])
            for key, value in self._predict(log_probs, targets).items():
                if key in lens:
                    lens[key].append(value)
            lens["kl"].append(tf.reduce_sum(tf.exp(final) * (final - log_probs), axis=1))
        return {
            "candidate_ids": own["ids"],
            "candidate_probs": own["probs"],
            "log_probs": own["log_probs"],
            "ranks": own["ranks"],
            "entropies": -tf.reduce_sum(tf.exp(final) * final, axis=1),
            "attention": tf.concat([found[name] for name in names], axis=0),
            **{f"lens_{key}": tf.stack(values) for key, values in lens.items()},
        }

    def _predict(self, log_probs: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns candidates, and what is said of the targets; see `lens.predict`."""
        top, ids = tf.math.top_k(log_probs, self._k)
        index = tf.expand_dims(targets, 1)  # (tokens, 1)
        own = tf.gather(log_probs, index, batch_dims=1)  # (tokens, 1)
        columns = tf.expand_dims(tf.range(self._model.config.vocab_size), 0)
        equal = tf.logical_and(tf.equal(log_probs, own), columns < index)
        earlier = tf.logical_or(log_probs > own, equal)
        ranks = 1 + tf.reduce_sum(tf.cast(earlier, tf.int32), axis=1)
        return {"ids": ids, "probs": tf.exp(top), "log_probs": own[:, 0], "ranks": ranks}
