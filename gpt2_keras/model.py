"""GPT-2: token ids in, logits out. The only forward pass there is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import ops

from gpt2_keras.config import GPT2Config
from gpt2_keras.layers import DecoderStack, PositionEmbedding
from gpt2_keras.layers.attention import causal_mask
from gpt2_keras.layers.cache import BlockCache, block_index
from gpt2_keras.layers.embedding import look_up
from gpt2_keras.layers.initializers import token_embedding_initializer
from gpt2_keras.layers.litert import is_for_litert
from gpt2_keras.layers.projection import multiply

if TYPE_CHECKING:
    from gpt2_keras.tokenizer import GPT2Tokenizer


@keras.saving.register_keras_serializable(package="gpt2_keras")
class GPT2Model(keras.Model):
    """A GPT-2 language model: for every position, logits of the next token.

    A standard Keras model: `compile()` without arguments sets GPT-2's usual
    optimizer, schedule and loss, `fit()` takes a dataset of `(token_ids,
    targets)`. With a tokenizer it also reads and writes text: `generate`,
    `stream`, `score`, `next_tokens`, `export`.

    Source: `model` in openai/gpt-2 `src/model.py`.

    Args:
        config: The shape. The published ones: `GPT2Config.gpt2()` and so on.
        tokenizer: The `GPT2Tokenizer` of the texts it reads and writes, or None
            for a model of bare ids.
        dtype: Keras dtype or policy, such as `"mixed_bfloat16"`. By default
            Keras' global policy.

    Call arguments:
        token_ids: Int tensor `(batch, time)`, `time` at most `context_length`.
        padding_mask: Bool tensor `(batch, keys)`, False for padding on either
            side; `keys` is `time`, or with a cache its length. Positions are
            counted from each row's first token that is not padding.
        segment_ids: Int tensor `(batch, time)`: tokens of different numbers do not see
            each other, and positions are counted among those of one number, so that
            documents in one row give the logits that they give alone. Not with a cache.
        cache: What `make_cache` makes, or None. See `cache_index`.
        cache_index: How many positions the cache holds already; `token_ids` are
            the next ones.
        overwrite_cache: Whether the memory of `cache` may become that of the
            updated one: faster, and the one given must not be used again.
        num_logits: For how many of the last positions to compute logits; 0 for
            none. By default for all.
        logits_index: The one position to compute logits for, instead.
        return_hidden_states: Whether to return the hidden states as well.

    Returns:
        Logits, float32 `(batch, time or num_logits, vocab)`. With a cache, a
        tuple of that and the updated cache. With `return_hidden_states`, one
        more entry: a list of `num_layers + 1` float tensors `(batch, time,
        width)`, from the embeddings to the normalised output of the last block.

    Raises:
        ValueError: If the tokenizer's vocabulary is not the model's, if there
            are more tokens than `context_length`, or if an id given as a NumPy
            array or list is outside the vocabulary.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> model = GPT2LM(config)
        >>> model(np.array([[1, 2, 3]])).shape
        TensorShape([1, 3, 100])
    """

    def __init__(
        self, config: GPT2Config, tokenizer: "GPT2Tokenizer | None" = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config = config
        self._tokenizer: GPT2Tokenizer | None = None
        self.tokenizer = tokenizer
        self.token_embedding = keras.layers.ReversibleEmbedding(
            config.vocab_size,
            config.hidden_dim,
            embeddings_initializer=token_embedding_initializer(),
            dtype=self.dtype_policy,
            name="token_embedding",
        )
        self.position_embedding = PositionEmbedding(
            config.context_length,
            config.hidden_dim,
            config.position_embedding,
            dtype=self.dtype_policy,
            name="position_embedding",
        )
        self.embedding_dropout = keras.layers.Dropout(config.dropout_rate, dtype=self.dtype_policy)
        self.decoder = DecoderStack(
            config.num_layers,
            config.num_heads,
            config.feed_forward_dim,
            config.dropout_rate,
            dtype=self.dtype_policy,
            name="decoder",
        )
        # The shape is known, so the weights exist at once: summary() and loading need no data.
        self.token_embedding.build()
        self.position_embedding.build()
        self.decoder.build((None, None, config.hidden_dim))
        self.built = True

    def __call__(self, token_ids: Any, *args: Any, **kwargs: Any) -> Any:
        """Checks ids that are at hand as numbers, then runs `call`."""
        if isinstance(token_ids, np.ndarray | list | tuple):
            self.check_token_ids(token_ids)
        return super().__call__(token_ids, *args, **kwargs)

    def call(
        self,
        token_ids: Any,
        padding_mask: Any = None,
        segment_ids: Any = None,
        cache: Any = None,
        cache_index: Any = 0,
        overwrite_cache: bool = False,
        num_logits: int | None = None,
        logits_index: Any = None,
        return_hidden_states: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Computes the logits; see the class."""
        time = ops.shape(token_ids)[1]
        if isinstance(time, int) and time > self.config.context_length:
            raise ValueError(
                "A sequence must fit into `context_length` tokens. "
                f"Received: time={time}, context_length={self.config.context_length}. "
                "Crop it to the last tokens, or split it into windows."
            )
        if segment_ids is not None and cache is not None:
            raise ValueError(
                "Documents are kept apart in whole rows only, not with a cache. "
                "Received: segment_ids and cache. Leave out one of them."
            )
        mask = _attention_mask(time, padding_mask, segment_ids, cache, cache_index)
        if segment_ids is None:
            positions = _positions(time, padding_mask, cache_index)  # (batch or 1, time)
        else:
            seen = ops.sum(ops.cast(mask[:, 0], "int32"), axis=2)  # (batch, time)
            positions = ops.maximum(seen - 1, 0)
        x = self._embed(token_ids) + self.position_embedding(positions)
        x = self.embedding_dropout(x, training=training)  # (batch, time, width)
        states, cache = self.decoder(
            x,
            attention_mask=mask,
            cache=cache,
            cache_index=cache_index,
            overwrite_cache=overwrite_cache,
            training=training,
        )
        x = states[-1]
        if logits_index is not None:
            x = ops.take(x, ops.reshape(logits_index, (1,)), axis=1)
        elif num_logits is not None and x.shape[1] != num_logits:
            x = x[:, -num_logits:] if num_logits else x[:, :0]
        logits = self._project(x, training)  # (batch, time, vocab)
        # float32 whatever the policy: the loss and the samplers need the range.
        outputs: tuple[Any, ...] = (ops.cast(logits, "float32"),)
        if cache is not None:
            outputs += (cache,)
        if return_hidden_states:
            outputs += (states,)
        return outputs[0] if len(outputs) == 1 else outputs

    def _embed(self, token_ids: Any) -> Any:
        """Looks up the token embeddings; (batch, time) → (batch, time, width)."""
        if not is_for_litert():
            return self.token_embedding(token_ids)
        return ops.cast(look_up(self.token_embedding.embeddings, token_ids), self.compute_dtype)

    def _project(self, x: Any, training: bool | None) -> Any:
        """Multiplies with the token embeddings; (batch, time, width) → (batch, time, vocab)."""
        if x.shape[1] != 1 or self.token_embedding.quantization_mode is not None:
            return self.token_embedding(x, reverse=True)
        table = ops.cast(self.token_embedding.embeddings, self.compute_dtype)  # (vocab, width)
        return ops.expand_dims(multiply(x[:, 0], table, training=training), 1)

    def make_cache(self, batch_size: Any, length: Any) -> list[tuple[Any, Any]]:
        """Returns an empty cache for the keys and values of `length` positions.

        Args:
            batch_size: Number of rows.
            length: Largest number of positions it will hold.

        Returns:
            A pair of float tensors `(batch, heads, length, head_dim)` a layer.
        """
        shape = (batch_size, self.config.num_heads, length, self.config.head_dim)
        dtype = self.compute_dtype
        return [
            (ops.zeros(shape, dtype), ops.zeros(shape, dtype))
            for _ in range(self.config.num_layers)
        ]

    def hidden_states(self, token_ids: Any, padding_mask: Any = None) -> list[Any]:
        """Returns what each block makes of the tokens.

        Args:
            token_ids: Int tensor `(batch, time)`.
            padding_mask: Bool tensor `(batch, time)`, False for padding.

        Returns:
            `num_layers + 1` float tensors `(batch, time, width)`: the embeddings,
            the output of each block but the last, and the normalised output of
            the last.
        """
        outputs = self(
            token_ids, padding_mask=padding_mask, num_logits=1, return_hidden_states=True
        )
        states: list[Any] = outputs[-1]
        return states

    def check_token_ids(self, token_ids: Any) -> None:
        """Raises ValueError if an id, given as an array or list, is not in the vocabulary."""
        ids = np.asarray(token_ids)
        if ids.size and (ids.min() < 0 or ids.max() >= self.config.vocab_size):
            wrong = ids[(ids < 0) | (ids >= self.config.vocab_size)].flat[0]
            raise ValueError(
                f"Token ids must be at least 0 and below vocab_size={self.config.vocab_size}. "
                f"Received: {wrong}. Encode the text with the tokenizer of this model."
            )

    @property
    def tokenizer(self) -> "GPT2Tokenizer | None":
        """The tokenizer of the texts this model reads and writes."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: "GPT2Tokenizer | None") -> None:
        if tokenizer is not None and tokenizer.vocab_size != self.config.vocab_size:
            raise ValueError(
                "The tokenizer and the model must have the same number of tokens. "
                f"Received: tokenizer.vocab_size={tokenizer.vocab_size}, "
                f"config.vocab_size={self.config.vocab_size}. "
                "Use the tokenizer that the model was trained with, "
                f"or a config with vocab_size={tokenizer.vocab_size}."
            )
        self._tokenizer = tokenizer

    def require_tokenizer(self) -> "GPT2Tokenizer":
        """Returns the tokenizer; raises ValueError if there is none."""
        if self._tokenizer is None:
            raise ValueError(
                "Text needs a tokenizer. Received: a model with tokenizer=None. "
                "Set `model.tokenizer = GPT2Tokenizer.from_directory(...)`."
            )
        return self._tokenizer

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the model; the tokenizer is an asset."""
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:  # noqa: ARG003
        """Rebuilds the model of a `get_config` dictionary."""
        return cls(**{**config, "config": GPT2Config.from_dict(config["config"])})

    def save_assets(self, directory: str) -> None:
        """Writes the tokenizer into a `.keras` file; Keras calls this."""
        if self._tokenizer is not None:
            self._tokenizer.save(directory, overwrite=True)

    def load_assets(self, directory: str) -> None:
        """Reads the tokenizer of a `.keras` file; Keras calls this."""
        from gpt2_keras.tokenizer import GPT2Tokenizer

        if any(Path(directory).iterdir()):
            self.tokenizer = GPT2Tokenizer.from_directory(directory)


def _attention_mask(
    time: Any, padding_mask: Any, segment_ids: Any, cache: Any, cache_index: Any
) -> Any:
    """Returns where to look, bool (batch or 1, 1, time, keys); None for all before a token."""
    if cache is None and padding_mask is None and segment_ids is None:
        return None
    if cache is not None and isinstance(cache[0], BlockCache):
        return _block_mask(time, cache[0], cache_index)
    keys = time if cache is None else ops.shape(cache[0][0])[2]
    mask = causal_mask(time, keys, cache_index, padding_mask)
    if segment_ids is None:
        return mask
    same = ops.equal(ops.expand_dims(segment_ids, 2), ops.expand_dims(segment_ids, 1))
    return ops.logical_and(mask, ops.expand_dims(same, 1))


def _block_mask(time: Any, cache: BlockCache, cache_index: Any) -> Any:
    """Returns where to look in the past and in the block, bool (1, 1, time, length + block)."""
    index = block_index(cache, cache_index)
    past = ops.arange(ops.shape(cache.past_keys)[2], dtype="int32") < cache_index - index
    past = ops.broadcast_to(past, (1, 1, time, ops.shape(cache.past_keys)[2]))
    return ops.concatenate([past, causal_mask(time, ops.shape(cache.keys)[2], index)], axis=3)


def _positions(time: Any, padding_mask: Any, cache_index: Any) -> Any:
    """Returns the positions of the tokens, int32 (batch or 1, time)."""
    slots = ops.arange(time, dtype="int32") + cache_index  # (time,)
    if padding_mask is None:
        return ops.expand_dims(slots, 0)
    real_before = ops.cumsum(ops.cast(padding_mask, "int32"), axis=1) - 1  # (batch, keys)
    return ops.take(ops.maximum(real_before, 0), slots, axis=1)
