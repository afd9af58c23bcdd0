"""Tokens put together to text, piece by piece."""

import codecs
from collections.abc import Iterable, Sequence

from gpt2_keras.tokenizer import GPT2Tokenizer


class TextPieces:
    """Turns the tokens of one row into text as they come.

    A piece never ends inside a character, and nothing is given out that may be
    the beginning of a stop string.

    Args:
        tokenizer: The tokenizer of the ids.
        stop: Strings that end the text; they are no part of it.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["a"], vocab_size=257)
        >>> pieces = TextPieces(tokenizer, stop=["!"])
        >>> pieces.feed(tokenizer.encode("é")[:1]), pieces.feed(tokenizer.encode("é")[1:])
        ('', 'é')
        >>> pieces.feed(tokenizer.encode("a!b")), pieces.stopped
        ('a', True)
    """

    def __init__(self, tokenizer: GPT2Tokenizer, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = [text.encode() for text in stop]
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_ids: Iterable[int]) -> str:
        """Takes the next tokens and returns the text that is now sure."""
        if self.stopped:
            return ""
        self._held += self._tokenizer.decode_bytes(list(token_ids))
        ends = [place for text in self._stop if (place := self._held.find(text)) >= 0]
        if ends:
            self.stopped = True
            return self._decoder.decode(self._held[: min(ends)], final=True)
        sure = len(self._held) - max(map(self._overlap, self._stop), default=0)
        piece, self._held = self._held[:sure], self._held[sure:]
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Ends the text and returns what was held back."""
        if self.stopped:
            return ""
        self.stopped = True
        return self._decoder.decode(self._held, final=True)

    def _overlap(self, stop: bytes) -> int:
        """Counts the last bytes held that begin a stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
