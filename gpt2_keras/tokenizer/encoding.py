"""Text to token ids, with the special tokens that are allowed in it, and token ids to bytes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import tokenizers

from gpt2_keras.tokenizer.byte_alphabet import spell
from gpt2_keras.tokenizer.special_tokens import special_token_pattern
from gpt2_keras.validation import check_integer, check_text


class Encoder:
    """Turns texts into token ids.

    Args:
        bpe: The pipeline that encodes plain text. Special tokens are not known
            to it: no text becomes one by itself.
        special_tokens: The ids of the special tokens.
    """

    def __init__(self, bpe: tokenizers.Tokenizer, special_tokens: Mapping[str, int]) -> None:
        self._bpe, self._special_tokens = bpe, special_tokens

    def encode(self, texts: list[str], allowed: Collection[str]) -> list[list[int]]:
        """Encodes texts, splitting them at the allowed special tokens first.

        Args:
            texts: Strings, in which there may be surrogates.
            allowed: The special tokens whose text becomes their id.

        Returns:
            The ids of each text.

        Raises:
            TypeError: If a text is not a string.
        """
        texts = [without_surrogates(text) for text in texts]
        if not allowed:
            return self._encode_plain(texts)
        pattern = special_token_pattern(allowed)
        return [self._encode_alternating(pattern.split(text)) for text in texts]

    def encode_pre_token(self, pre_token: str) -> list[int]:
        """Encodes text that GPT-2's pattern does not split."""
        return [token.id for token in self._bpe.model.tokenize(spell(pre_token.encode("utf-8")))]

    def _encode_alternating(self, parts: list[str]) -> list[int]:
        """Encodes plain text and special tokens that alternate."""
        plain = self._encode_plain(parts[::2])
        ids = plain[0]
        for name, following in zip(parts[1::2], plain[1:], strict=True):
            ids.append(self._special_tokens[name])
            ids.extend(following)
        return ids

    def _encode_plain(self, texts: list[str]) -> list[list[int]]:
        encodings = self._bpe.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def without_surrogates(text: str) -> str:
    """Returns text that UTF-8 can encode: a lone surrogate becomes U+FFFD.

    Pairs of surrogates become their character. Source: `Encoding.encode` in
    openai/tiktoken `tiktoken/core.py`.

    Raises:
        TypeError: If it is no `str`.

    Example:
        >>> without_surrogates("a\\ud800")
        'a\ufffd'
    """
    check_text("text", text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def join_bytes(ids: Any, token_bytes: Sequence[bytes]) -> bytes | list[bytes]:
    """Joins the bytes of token ids.

    Args:
        ids: Token ids, or several lists of them: Python lists, arrays or tensors.
        token_bytes: The bytes of each token id.

    Returns:
        The bytes of the ids, or a list of them for each list.

    Raises:
        TypeError: If an id is not an integer.
        ValueError: If an id is not in the vocabulary.

    Example:
        >>> join_bytes([1, 0, 1], [b"a", b"b"]), join_bytes([[1], [0, 0]], [b"a", b"b"])
        (b'bab', [b'b', b'aa'])
    """
    rows = _as_list("ids", ids)
    if rows and all(_is_row(row) for row in rows):
        return [
            _join(name, _as_list(name, row), token_bytes)
            for name, row in ((f"ids[{index}]", row) for index, row in enumerate(rows))
        ]
    return _join("ids", rows, token_bytes)


def _join(name: str, ids: list[Any], token_bytes: Sequence[bytes]) -> bytes:
    """Joins the bytes of one row of ids."""
    vocab_size = len(token_bytes)
    joined = []
    for index, token_id in enumerate(ids):
        if type(token_id) is not int or not 0 <= token_id < vocab_size:
            token_id = check_integer(
                f"{name}[{index}]",
                _as_python(token_id),
                minimum=0,
                maximum=vocab_size - 1,
                advice="Decode with the tokenizer that made the ids.",
            )
        joined.append(token_bytes[token_id])
    return b"".join(joined)


def _as_list(name: str, ids: Any) -> list[Any]:
    """Returns ids of any container as a list."""
    ids = _as_python(ids)
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(
            f"{name}={ids!r} is no sequence of token ids. Use a list of them, for example [464]."
        )
    return list(ids)


def _as_python(value: Any) -> Any:
    """Returns a tensor, an array or a scalar of one as Python's own lists and numbers."""
    if hasattr(value, "numpy"):  # a tensor
        value = value.numpy()
    return value.tolist() if hasattr(value, "tolist") else value


def _is_row(item: object) -> bool:
    """Tells a list of ids from an id; NumPy's integers have a `tolist` but no length."""
    is_container = hasattr(item, "__len__") and not isinstance(item, str | bytes)
    return is_container and getattr(item, "ndim", 1) > 0
