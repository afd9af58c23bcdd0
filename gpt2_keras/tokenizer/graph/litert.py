"""The tokenizer as signatures of LiteRT: bytes to ids and back, in builtin ops only."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from gpt2_keras.litert_conversion import convert
from gpt2_keras.tokenizer.graph.tokenizer import AllowedSpecial, GraphTokenizer
from gpt2_keras.validation import check_path


class LiteRTTokenizer(tf.Module):
    """The functions of a `GraphTokenizer` for one text, as LiteRT can run them.

    LiteRT has no strings: a text is a tensor of bytes. The algorithm is that of
    `GraphTokenizer`.

    Args:
        tokenizer: The in-graph tokenizer.
        allowed_special: As for `GraphTokenizer`, instead of what was given there.

    Example:
        >>> tokens = [bytes([value]) for value in range(256)] + [b"he"]
        >>> litert = LiteRTTokenizer(GraphTokenizer(tokens, [(104, 101)], {}))
        >>> litert.tokenize(tf.constant(list(b"hey"), tf.uint8))["token_ids"].numpy().tolist()
        [256, 121]
    """

    def __init__(
        self, tokenizer: GraphTokenizer, allowed_special: AllowedSpecial | None = None
    ) -> None:
        super().__init__(name="litert_tokenizer")
        self._tokenizer = tokenizer
        if allowed_special is not None and not isinstance(allowed_special, str):
            allowed_special = tuple(allowed_special)
        self._allowed_special = allowed_special

    def with_allowed_special(self, allowed_special: AllowedSpecial) -> "LiteRTTokenizer":
        """Returns a tokenizer with other special tokens that become their ids."""
        return LiteRTTokenizer(self._tokenizer, allowed_special)

    @tf.autograph.experimental.do_not_convert
    def tokenize(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turns one text into token ids.

        Args:
            text: uint8 tensor `(size,)`, the bytes of the text.

        Returns:
            `token_ids`, int32 `(tokens,)`, and `num_tokens`, int32 `()`.
        """
        ids = self._tokenizer.tokenize_bytes(tf.cast(text, tf.int32), self._allowed_special)
        # Counted from the values: LiteRT.js cannot output what follows from shapes alone.
        num_tokens = tf.reduce_sum(tf.cast(ids >= 0, tf.int32))
        return {"token_ids": ids, "num_tokens": num_tokens}

    @tf.autograph.experimental.do_not_convert
    def detokenize(self, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turns token ids into text.

        Args:
            token_ids: int32 tensor `(tokens,)`. Ids outside the vocabulary
                give no bytes.

        Returns:
            `text`, uint8 `(size,)`, valid UTF-8 as `GraphTokenizer.detokenize`
            makes it, and `text_bytes`, uint8 `(raw_size,)`, the raw bytes.
        """
        detokenizer = self._tokenizer.detokenizer
        data, _ = detokenizer.to_bytes(token_ids)
        valid, _ = detokenizer.replace_invalid(data, tf.zeros([1], tf.int32), tf.shape(data))
        return {"text": tf.cast(valid, tf.uint8), "text_bytes": tf.cast(data, tf.uint8)}

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """Returns `tokenize` and `detokenize` as functions with signatures of their own."""
        return {
            "tokenize": tf.function(
                self.tokenize,
                autograph=False,
                input_signature=[tf.TensorSpec([None], tf.uint8, name="text")],
            ),
            "detokenize": tf.function(
                self.detokenize,
                autograph=False,
                input_signature=[tf.TensorSpec([None], tf.int32, name="token_ids")],
            ),
        }


def write_litert(
    tokenizer: GraphTokenizer, path: str | Path, allowed_special: AllowedSpecial | None = None
) -> None:
    """Writes a `.tflite` with the signatures `tokenize` and `detokenize`.

    Args:
        tokenizer: The in-graph tokenizer.
        path: The file to write.
        allowed_special: As in `LiteRTTokenizer`.

    Raises:
        TypeError: If `path` is no path.
        ValueError: If `allowed_special` has what is no special token.
    """
    file = Path(check_path("path", path))
    module = LiteRTTokenizer(tokenizer, allowed_special)
    file.write_bytes(convert(module, module.signatures()))
