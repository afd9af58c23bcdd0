"""Text to token ids, with the special tokens that are allowed in it."""

import re
from collections.abc import Collection, Mapping
from typing import Literal

import tokenizers

from gpt2_keras.tokenizer.byte_alphabet import spell


class Encoder:
    """Turns texts into token ids.

    Args:
        bpe: The pipeline that encodes plain text. Special tokens are not known
            to it: then no text becomes one unasked.
        special_tokens: The ids of the special tokens.
    """

    def __init__(self, bpe: tokenizers.Tokenizer, special_tokens: Mapping[str, int]) -> None:
        self._bpe, self._special_tokens = bpe, special_tokens

    def encode(
        self, texts: list[str], allowed_special: Literal["all"] | Collection[str]
    ) -> list[list[int]]:
        """Encodes texts, taking the allowed special tokens out of them first.

        Args:
            texts: Strings, in which there may be surrogates.
            allowed_special: As for `GPT2Tokenizer.encode`.

        Raises:
            TypeError: If a text is not a string.
            ValueError: If a name of `allowed_special` is no special token.
        """
        allowed = self._allowed(allowed_special)
        texts = [without_surrogates(text) for text in texts]
        if not allowed:
            return self._encode_plain(texts)
        # The longest first, so that no special token hides another that it begins.
        names = sorted(allowed, key=len, reverse=True)
        pattern = re.compile("(" + "|".join(map(re.escape, names)) + ")")
        return [self._encode_parts(pattern.split(text)) for text in texts]

    def encode_piece(self, piece: str) -> list[int]:
        """Encodes text that GPT-2's pattern keeps in one piece.

        Args:
            piece: The piece.
        """
        return [token.id for token in self._bpe.model.tokenize(spell(piece.encode("utf-8")))]

    def _allowed(self, allowed_special: Literal["all"] | Collection[str]) -> list[str]:
        """Returns the special tokens to look for."""
        if allowed_special == "all":
            return list(self._special_tokens)
        # A bare string would be read as its letters.
        names = [allowed_special] if isinstance(allowed_special, str) else list(allowed_special)
        unknown = [name for name in names if name not in self._special_tokens]
        if unknown or isinstance(allowed_special, str):
            raise ValueError(
                "`allowed_special` must be 'all' or a collection of special tokens. "
                f"Received: allowed_special={allowed_special!r}. "
                f"The special tokens are {list(self._special_tokens)}."
            )
        return names

    def _encode_parts(self, parts: list[str]) -> list[int]:
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
    """Returns text that UTF-8 can spell."""
    if not isinstance(text, str):
        raise TypeError(
            "A text must be a string. "
            f"Received: {type(text).__name__}. Decode bytes first: raw.decode('utf-8')."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # openai/tiktoken `tiktoken/core.py`, Encoding.encode
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
