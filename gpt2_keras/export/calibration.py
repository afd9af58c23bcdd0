"""Calibration: what the inputs of each product are on text, for weights in fewer bits."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gpt2_keras.compression.importance import token_stream
from gpt2_keras.data.given_texts import Text
from gpt2_keras.generation.log_probs import token_log_probs
from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.layers.projection import Projection
from gpt2_keras.model import GPT2Model
from gpt2_keras.private_api.keras import raw_kernel

MIN_TOKENS, MAX_TOKENS = 512, 8192
# English has some 0.25 tokens per character of GPT-2's vocabulary; a script that the vocabulary
# does not know has a token per byte, two or more.
_MAX_TOKENS_PER_CHARACTER = 1.25
_BATCH_TOKENS = 2048
_HESSIAN_BYTES = 2**29  # of the layers whose inputs are measured in one pass over the text

# The products of a block: their layers, and the activations that they read.
PRODUCTS = {
    "attention.qkv": "ln1.hook_normalized",
    "attention.output_projection": "attn.hook_z",
    "feed_forward.expand": "ln2.hook_normalized",
    "feed_forward.project": "mlp.hook_post",
}


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A model and the tokens of a text, checked.

    Args:
        model: The model.
        token_ids: Int32 array `(rows, time)`.
    """

    model: GPT2Model
    token_ids: np.ndarray

    @classmethod
    def of(cls, model: GPT2Model, texts: Text | Sequence[Text]) -> "Calibration":
        """Returns the calibration on texts.

        Raises:
            TypeError: If a text is neither a `str` nor a path.
            ValueError: If they are empty, not UTF-8, have fewer than `MIN_TOKENS` tokens, or are
                in a script that the vocabulary does not know.
            FileNotFoundError: If a file does not exist.
        """
        ids = token_stream(model, texts, MAX_TOKENS)
        if len(ids) < MIN_TOKENS:
            raise ValueError(
                f"The calibration text has {len(ids)} tokens, fewer than {MIN_TOKENS}, which do "
                f"not show what the weights read. Use a longer text; {MAX_TOKENS} tokens are read."
            )
        _check_script(model, ids)
        time = min(model.config.context_length, MIN_TOKENS)
        rows = ids[: len(ids) // time * time].reshape(-1, time)
        return cls(model, rows)

    def hessians(self) -> Iterator[tuple[Projection, np.ndarray]]:
        """Yields each product's layer and `xᵀx` of its inputs, float32 `(width, width)`."""
        config = self.model.config
        per_layer = 4 * (3 * config.hidden_dim**2 + config.feed_forward_dim**2)
        count = max(1, _HESSIAN_BYTES // per_layer)
        for start in range(0, config.num_layers, count):
            layers = range(start, min(start + count, config.num_layers))
            yield from self._hessians_of(layers)

    def _hessians_of(self, layers: Sequence[int]) -> Iterator[tuple[Projection, np.ndarray]]:
        sums: dict[str, Any] = {}

        def add(value: Any, name: str) -> None:
            rows = value.shape[0] * value.shape[1]
            x = ops.cast(ops.reshape(value, (rows, -1)), "float32")
            sums[name] = ops.matmul(ops.transpose(x), x) + sums.get(name, 0.0)

        names = [f"blocks.{layer}.{name}" for layer in layers for name in PRODUCTS.values()]
        with observing(Observer(self.model, dict.fromkeys(names, add))):
            for batch in self._batches():
                self.model(batch, num_logits=0, training=False)
        for layer in layers:
            for product, name in PRODUCTS.items():
                hessian = ops.convert_to_numpy(sums.pop(f"blocks.{layer}.{name}"))
                yield self.layer(layer, product), hessian

    def layer(self, index: int, product: str) -> Projection:
        """Returns the layer of a product of `PRODUCTS`."""
        found: Any = self.model.decoder.blocks[index]
        for word in product.split("."):
            found = getattr(found, word)
        layer: Projection = found
        return layer

    def loss(self) -> float:
        """Returns the mean cross entropy of some of the tokens, in nats."""
        batch = next(self._batches())
        log_probs = token_log_probs(self.model(batch[:, :-1], training=False), batch[:, 1:])
        return -float(ops.mean(log_probs))

    def losses_of(self, rounded: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Returns by how much the loss grows if one product alone has other weights.

        Args:
            rounded: Returns the weights of a product, float `(units, width)`, in fewer bits.

        Returns:
            The difference in nats by the path of the layer.
        """
        before, found = self.loss(), {}
        for index in range(self.model.config.num_layers):
            for product in PRODUCTS:
                layer = self.layer(index, product)
                kernel = layer.merged_kernel()
                with keras.StatelessScope(state_mapping=[(raw_kernel(layer), rounded(kernel))]):
                    found[layer.path] = self.loss() - before
        return found

    def _batches(self) -> Iterator[np.ndarray]:
        size = max(1, _BATCH_TOKENS // self.token_ids.shape[1])
        for start in range(0, len(self.token_ids), size):
            yield self.token_ids[start : start + size]


def _check_script(model: GPT2Model, token_ids: np.ndarray) -> None:
    """Raises ValueError of a text with more tokens than characters."""
    tokenizer = model.require_tokenizer()
    ids = token_ids[token_ids != tokenizer.end_token_id].tolist()
    characters = len(tokenizer.decode(ids))
    if len(ids) > _MAX_TOKENS_PER_CHARACTER * characters:
        raise ValueError(
            f"The calibration text has {len(ids)} tokens in its first {characters} characters: the "
            "vocabulary does not know its script. Use text like that which the model was trained "
            "on."
        )
