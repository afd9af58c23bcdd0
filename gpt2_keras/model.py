"""GPT-2: token ids in, logits out. The only forward pass there is."""

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import ops

from gpt2_keras.config import GPT2Config
from gpt2_keras.devices import check_compute_dtype
from gpt2_keras.generation_config import GenerationConfig
from gpt2_keras.layers import DecoderStack, PositionEmbedding
from gpt2_keras.layers.activations import observable, observe
from gpt2_keras.layers.initializers import token_embedding_initializer
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.masks import (
    causal_mask,
    document_mask,
    document_positions,
    token_positions,
)
from gpt2_keras.token_ids import check_token_ids_form
from gpt2_keras.validation import check_instance

if TYPE_CHECKING:
    from gpt2_keras.tokenizer import GPT2Tokenizer


# The tokenizers of this process by fingerprint, which `get_config` gives: for
# `keras.models.clone_model`. In a file the tokenizer itself is an asset.
_tokenizers: "weakref.WeakValueDictionary[str, GPT2Tokenizer]" = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable(package="gpt2_keras")
class GPT2Model(keras.Model):
    """The GPT-2 network: for every position, logits of the next token.

    With or without a cache the same code. `GPT2LM` (lm.py) adds training, generation and
    export.

    Source: `model` in openai/gpt-2 `src/model.py`.

    Args:
        config: The shape. The published ones: `GPT2Config.gpt2()` and so on.
        tokenizer: The `GPT2Tokenizer` of its texts, or None for a model of token ids alone.
        generation_config: Its end tokens and sampling defaults; by default the tokenizer's end
            token, and greedy.
        dtype: Keras dtype or policy, such as `"mixed_bfloat16"`. By default
            Keras' global policy.

    Call arguments:
        token_ids: Int tensor `(batch, time)`, `time` at most `context_length`.
        padding_mask: Bool tensor `(batch, keys)`, False for padding on either
            side; `keys` is `time`, or with a cache its length. Positions are
            counted from each row's first token that is not padding.
        segment_ids: Int tensor `(batch, time)`, the number of each token's document: tokens
            of different documents do not attend to each other, and positions are counted
            within each, so that documents in one row give the logits that they give alone.
            Not with a cache.
        cache: Keys and values of earlier positions, from `make_cache` or an earlier call; or
            None.
        cache_index: Number of positions in the cache; `token_ids` are the next ones.
        overwrite_cache: Whether the updated cache may reuse the memory of `cache`: faster, but
            `cache` must not be used again.
        num_logits: Number of positions, counted from the last, to compute logits for; 0 for
            none. By default all.
        logits_index: Int scalar, instead of `num_logits`: the only position to compute logits
            for.
        return_hidden_states: Whether to return the hidden states as well.

    Returns:
        Logits, float32 `(batch, time or num_logits, vocab)`. With a cache, a
        tuple of logits and the updated cache. With `return_hidden_states`, one
        more entry: a list of `num_layers + 1` float tensors `(batch, time,
        width)`, from the embeddings to the normalized output of the last block.

    Raises:
        ValueError: If the tokenizer's vocabulary is not the model's, if there
            are more tokens than `context_length`, if an id given as a NumPy
            array or list is outside the vocabulary, or if the device cannot compute
            in the dtype.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> model = GPT2Model(config)
        >>> model(np.array([[1, 2, 3]])).shape
        TensorShape([1, 3, 100])
    """

    def __init__(
        self,
        config: GPT2Config,
        tokenizer: "GPT2Tokenizer | None" = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> None:
        check_instance("config", config, GPT2Config, "a GPT2Config")
        if generation_config is None:
            generation_config = GenerationConfig()
        rule = "a GenerationConfig"
        check_instance("generation_config", generation_config, GenerationConfig, rule)
        super().__init__(**kwargs)
        self.config = config
        self.generation_config = generation_config
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
        """Checks the form, and ids given as an array or list, then runs `call`."""
        token_ids = check_token_ids_form(token_ids)
        if isinstance(token_ids, np.ndarray):
            self.check_token_ids(token_ids)
        return super().__call__(token_ids, *args, **kwargs)

    @observable
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
        check_compute_dtype(self.compute_dtype)
        time = ops.shape(token_ids)[1]
        if isinstance(time, int) and time > self.config.context_length:
            raise ValueError(
                f"{time} tokens are more than context_length={self.config.context_length}. "
                "Truncate them to the last ones, or split them into windows."
            )
        if segment_ids is not None and cache is not None:
            raise ValueError(
                "segment_ids and a cache were given. Documents are masked in whole rows only, "
                "not with a cache. Leave out one of them."
            )
        mask = None  # causal
        if cache is not None:
            mask = current_kernels().cache_mask(time, cache[0], cache_index, padding_mask)
        elif padding_mask is not None or segment_ids is not None:
            mask = causal_mask(time, time, 0, padding_mask)  # (batch or 1, 1, time, time)
        if segment_ids is None:
            positions = token_positions(time, padding_mask, cache_index)  # (batch or 1, time)
        else:
            mask = document_mask(mask, segment_ids)
            positions = document_positions(mask)  # (batch, time)
        x = observe("hook_embed", current_kernels().embed(self.token_embedding, token_ids))
        x = x + observe("hook_pos_embed", self.position_embedding(positions))
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
        outputs: tuple[Any, ...] = (self.logits_of(x, training),)
        if cache is not None:
            outputs += (cache,)
        if return_hidden_states:
            outputs += (states,)
        return outputs[0] if len(outputs) == 1 else outputs

    def logits_of(self, x: Any, training: bool | None = None) -> Any:
        """Returns the logits of normalized hidden states.

        Args:
            x: Float tensor `(batch, time, width)`, as the final norm returns it.
            training: Whether gradients will be asked for.

        Returns:
            Float32 tensor `(batch, time, vocab)`.
        """
        logits = current_kernels().unembed(self.token_embedding, x, training)
        # float32 whatever the policy: the loss and the samplers need the range.
        return ops.cast(logits, "float32")

    def make_cache(self, batch_size: Any, length: Any) -> list[tuple[Any, Any]]:
        """Returns an empty cache for the keys and values of `length` positions.

        Args:
            batch_size: Number of rows.
            length: Largest number of positions it will hold.

        Returns:
            For each layer a pair of float tensors `(batch, heads, length, head_dim)`.
        """
        shape = (batch_size, self.config.num_heads, length, self.config.head_dim)
        dtype = self.compute_dtype
        return [
            (ops.zeros(shape, dtype), ops.zeros(shape, dtype))
            for _ in range(self.config.num_layers)
        ]

    def hidden_states(self, token_ids: Any, padding_mask: Any = None) -> list[Any]:
        """Returns the hidden states of the tokens after each block.

        Args:
            token_ids: Int tensor `(batch, time)`.
            padding_mask: Bool tensor `(batch, time)`, False for padding.

        Returns:
            `num_layers + 1` float tensors `(batch, time, width)`: the embeddings,
            the output of each block but the last, and the normalized output of the last.
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
                f"Token id {wrong} is not in the vocabulary: ids are at least 0 and below "
                f"vocab_size={self.config.vocab_size}. "
                "Encode the text with the tokenizer of this model."
            )

    @property
    def tokenizer(self) -> "GPT2Tokenizer | None":
        """The tokenizer of the texts this model reads and writes."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: "GPT2Tokenizer | None") -> None:
        if tokenizer is not None and tokenizer.vocab_size != self.config.vocab_size:
            size = f"vocab_size={tokenizer.vocab_size}"
            padding = ""
            if tokenizer.vocab_size < self.config.vocab_size:
                padding = f"; `from_preset(…, {size})` leaves out the later embeddings"
            raise ValueError(
                f"tokenizer.{size} is not config.vocab_size={self.config.vocab_size}. Use the "
                "tokenizer that the model was trained with, or for a new model a config with "
                f"{size}{padding}."
            )
        self._tokenizer = tokenizer

    def require_tokenizer(self) -> "GPT2Tokenizer":
        """Returns the tokenizer; raises ValueError if there is none."""
        if self._tokenizer is None:
            raise ValueError(
                "The model has no tokenizer, which text needs. "
                "Set `model.tokenizer = GPT2Tokenizer.from_directory(...)`."
            )
        return self._tokenizer

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The ids that end a generated text: the generation config's, or the tokenizer's one.

        An id that the model has no token for, as in the config of a small model made from the
        defaults of a large one, is none of them.
        """
        configured = self.generation_config.end_token_ids
        ids = tuple(token_id for token_id in configured if token_id < self.config.vocab_size)
        if ids or self._tokenizer is None:
            return ids
        return (self._tokenizer.end_token_id,)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the model; in a file the tokenizer is an asset."""
        config = {**super().get_config(), "config": self.config.to_dict()}
        if fields := self.generation_config.to_dict():
            config["generation_config"] = fields
        if self._tokenizer is not None:
            config["tokenizer"] = self._tokenizer.fingerprint
            _tokenizers[self._tokenizer.fingerprint] = self._tokenizer
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:  # noqa: ARG003
        """Rebuilds the model of a `get_config` dictionary."""
        tokenizer = _tokenizers.get(config.get("tokenizer", ""))
        arguments: dict[str, Any] = {
            "config": GPT2Config.from_dict(config["config"]),
            "tokenizer": tokenizer,
        }
        if "generation_config" in config:
            arguments["generation_config"] = GenerationConfig(**config["generation_config"])
        return cls(**(config | arguments))

    def quantize(self, mode: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Raises ValueError: training and saving read weights that Keras would replace."""
        raise ValueError(
            f"quantize(mode={mode!r}) was called. Keras' quantization replaces weights in place, "
            "which training, saving and export read. Quantize the export: "
            '`model.export("model.tflite", format="litert", dtype="int8")`.'
        )

    def save_assets(self, directory: str) -> None:
        """Writes the tokenizer into a `.keras` file; Keras calls this."""
        if self._tokenizer is not None:
            self._tokenizer.save(directory, overwrite=True)

    def load_assets(self, directory: str) -> None:
        """Reads the tokenizer of a `.keras` file; Keras calls this."""
        from gpt2_keras.tokenizer import GPT2Tokenizer

        if any(Path(directory).iterdir()):
            self.tokenizer = GPT2Tokenizer.from_directory(directory)
