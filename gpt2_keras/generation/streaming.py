"""Tokens decoded to text deltas, as they come."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Protocol


class BytesDecoder(Protocol):
    """What turns ids into bytes: a tokenizer, or an artifact that has one inside."""

    def decode_bytes(self, token_ids: list[int]) -> bytes:
        """Returns the bytes of ids."""


class TextDeltas:
    """Decodes the tokens of one row to text as they come.

    A text delta never ends inside a character, and what may be the beginning of a stop string
    is held back.

    Args:
        tokenizer: Decodes the ids.
        stop: Strings that end the text; they are no part of it.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["a"], vocab_size=257)
        >>> deltas = TextDeltas(tokenizer, stop=["!"])
        >>> deltas.feed(tokenizer.encode("é")[:1]), deltas.feed(tokenizer.encode("é")[1:])
        ('', 'é')
        >>> deltas.feed(tokenizer.encode("a!b")), deltas.stopped
        ('a', True)
    """

    def __init__(self, tokenizer: BytesDecoder, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = [text.encode() for text in stop]
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_ids: Iterable[int]) -> str:
        """Takes the next tokens and returns the text that is certain now."""
        if self.stopped:
            return ""
        self._held += self._tokenizer.decode_bytes(list(token_ids))
        ends = [index for text in self._stop if (index := self._held.find(text)) >= 0]
        if ends:
            self.stopped = True
            return self._decoder.decode(self._held[: min(ends)], final=True)
        certain = len(self._held) - max(map(self._overlap, self._stop), default=0)
        delta, self._held = self._held[:certain], self._held[certain:]
        return self._decoder.decode(delta)

    def finish(self) -> str:
        """Ends the text and returns what was held back."""
        if self.stopped:
            return ""
        self.stopped = True
        return self._decoder.decode(self._held, final=True)

    def _overlap(self, stop: bytes) -> int:
        """Returns the number of last bytes held that begin a stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
