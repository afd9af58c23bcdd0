"""The in-graph tokenizer as two Keras layers: text to token ids, and token ids to text."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import tensorflow as tf

from gpt2_keras.tokenizer.graph.tokenizer import AllowedSpecial, GraphTokenizer
from gpt2_keras.tokenizer.special_tokens import check_allowed_special
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION
from gpt2_keras.validation import check_integer

if TYPE_CHECKING:
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer


class _VocabularyLayer(keras.layers.Layer):
    """A layer with a vocabulary, which is part of its config."""

    def __init__(
        self,
        tokens: Sequence[bytes | str],
        merges: Sequence[tuple[int, int]],
        special_tokens: Mapping[str, int],
        unicode_version: str = UNICODE_VERSION,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=False, **{"dtype": "int32", **kwargs})
        self.tokens = [
            base64.b64decode(token) if isinstance(token, str) else bytes(token) for token in tokens
        ]
        self.merges = [(int(left), int(right)) for left, right in merges]
        self.special_tokens = dict(special_tokens)
        self.unicode_version = unicode_version
        self._graph = GraphTokenizer(self.tokens, self.merges, self.special_tokens, unicode_version)

    @classmethod
    def from_tokenizer(cls, tokenizer: "GPT2Tokenizer", **kwargs: Any) -> Self:
        """Returns the layer of a host tokenizer.

        Args:
            tokenizer: The host tokenizer.
            **kwargs: The other arguments of the layer.
        """
        return cls(tokenizer.token_bytes, tokenizer.merges, tokenizer.special_tokens, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer, the bytes of tokens in base 64."""
        config = super().get_config()
        del config["trainable"]
        return {
            **config,
            "tokens": [base64.b64encode(token).decode() for token in self.tokens],
            "merges": [list(pair) for pair in self.merges],
            "special_tokens": self.special_tokens,
            "unicode_version": self.unicode_version,
        }


@keras.saving.register_keras_serializable(package="gpt2_keras")
class TokenizerLayer(_VocabularyLayer):
    """Turns strings into padded token ids and their number.

    Args:
        tokens: The bytes of each id, or these in base 64, as in a config.
        merges: Pairs of ids in the order of their rank.
        special_tokens: Ids of the special tokens by their text.
        unicode_version: See `GraphTokenizer`.
        allowed_special: `"all"`, `"none"`, or the texts of the special tokens that
            become their ids. All others are plain text, as with tiktoken's
            `disallowed_special=()`.
        pad_id: The id after the end of a shorter text.
        max_tokens: Largest number of ids of a text, which is truncated to it. By
            default that of the longest text.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        texts: String tensor `(batch,)`.

    Returns:
        `token_ids`, int32 `(batch, time)`, and `num_tokens`, int32 `(batch,)`.
        `time` is `max_tokens` where that is given.

    Raises:
        TypeError: If `pad_id` or `max_tokens` is no integer.
        ValueError: If vocabulary and merges do not fit together, `allowed_special`
            has what is no special token, or `max_tokens` is below 1.

    Example:
        >>> tokens = [bytes([value]) for value in range(256)] + [b"he"]
        >>> layer = TokenizerLayer(tokens, [(104, 101)], {})
        >>> token_ids, num_tokens = layer(tf.constant(["hey", "a"]))
        >>> token_ids.numpy().tolist(), num_tokens.numpy().tolist()
        ([[256, 121], [97, 0]], [2, 1])
    """

    def __init__(
        self,
        tokens: Sequence[bytes | str],
        merges: Sequence[tuple[int, int]],
        special_tokens: Mapping[str, int],
        unicode_version: str = UNICODE_VERSION,
        allowed_special: AllowedSpecial = "none",
        pad_id: int = 0,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tokens, merges, special_tokens, unicode_version, **kwargs)
        if max_tokens is not None:
            advice = "Or None for the number of tokens of the longest text."
            max_tokens = check_integer("max_tokens", max_tokens, minimum=1, advice=advice)
        self.pad_id = check_integer("pad_id", pad_id)
        self.max_tokens = max_tokens
        check_allowed_special(allowed_special, self.special_tokens)
        self.allowed_special = (
            allowed_special if isinstance(allowed_special, str) else sorted(allowed_special)
        )

    @classmethod
    def from_tokenizer(cls, tokenizer: "GPT2Tokenizer", **kwargs: Any) -> Self:
        """Returns the layer of a host tokenizer, by default with its policy of special tokens.

        Args:
            tokenizer: The host tokenizer.
            **kwargs: The other arguments of the layer.
        """
        kwargs.setdefault("allowed_special", tokenizer.allowed_special)
        return super().from_tokenizer(tokenizer, **kwargs)

    def call(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Call arguments` of the class."""
        rows = self._graph.tokenize(texts, self.allowed_special)
        if self.max_tokens is not None:
            rows = rows[:, : self.max_tokens]
        token_ids = rows.to_tensor(self.pad_id, shape=[None, self.max_tokens])  # (batch, time)
        return token_ids, tf.cast(rows.row_lengths(), tf.int32)

    def compute_output_spec(self, texts: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the shapes and types of the outputs."""
        batch = texts.shape[0]
        return (
            keras.KerasTensor((batch, self.max_tokens), "int32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer, the bytes of tokens in base 64."""
        return {
            **super().get_config(),
            "allowed_special": self.allowed_special,
            "pad_id": self.pad_id,
            "max_tokens": self.max_tokens,
        }


@keras.saving.register_keras_serializable(package="gpt2_keras")
class DetokenizerLayer(_VocabularyLayer):
    """Turns padded token ids into strings.

    Args:
        tokens: The bytes of each id, or these in base 64, as in a config.
        merges: Pairs of ids in the order of their rank.
        special_tokens: Ids of the special tokens by their text.
        unicode_version: See `GraphTokenizer`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        token_ids: int32 tensor `(batch, time)`.
        num_tokens: int32 tensor `(batch,)`, the number of ids of each row; those
            after them are padding.

    Returns:
        `text`, valid UTF-8, and `text_bytes`, the raw bytes: string tensors
        `(batch,)`, see `GraphTokenizer.detokenize`.

    Raises:
        ValueError: If vocabulary and merges do not fit together.

    Example:
        >>> tokens = [bytes([value]) for value in range(256)] + [b"he"]
        >>> layer = DetokenizerLayer(tokens, [(104, 101)], {})
        >>> text, _ = layer(tf.constant([[256, 121, 0]]), tf.constant([2]))
        >>> text.numpy().tolist()
        [b'hey']
    """

    def call(self, token_ids: tf.Tensor, num_tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Call arguments` of the class."""
        return self._graph.detokenize(token_ids, num_tokens)

    def compute_output_spec(
        self,
        token_ids: Any,
        num_tokens: Any,  # noqa: ARG002 -- the arguments of `call`
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the shapes and types of the outputs."""
        batch = token_ids.shape[0]
        return keras.KerasTensor((batch,), "string"), keras.KerasTensor((batch,), "string")
