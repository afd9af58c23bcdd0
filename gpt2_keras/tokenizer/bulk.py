"""Encoding a corpus: words that come again are looked up."""

import re
from collections.abc import Callable

import numpy as np

from gpt2_keras.tokenizer.host import GPT2Tokenizer
from gpt2_keras.tokenizer.unicode_classes import WHITE_SPACE, character_classes

# Words kept, some 200 bytes each; when there are more, all are forgotten and learned anew.
CACHED_WORDS = 2**18
# Longer words hardly ever come again.
LONGEST_CACHED = 64
# GPT-2's pattern in ASCII, for words that have white space at most before them.
_ASCII_PIECES = re.compile(
    r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^ \t\n\r\v\fA-Za-z0-9]+|[ \t\n\r\v\f]+"
)


class BulkEncoder:
    """Turns much text into token ids, several times as fast as `GPT2Tokenizer.encode`.

    The ids are the same. Text is cut where GPT-2's pattern always starts a new
    piece: before white space that follows something else, and before the last
    white space of a run if something else follows. What is between, most often
    a word with its punctuation, is encoded once and then looked up. A new one in
    ASCII is cut by the pattern, and its pieces are looked up. Memory is constant:
    some 100 MB when the tables are full.

    Args:
        tokenizer: Makes the ids.
        dtype: Integer type of the ids.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> raw = BulkEncoder(tokenizer, np.dtype("<u2")).encode("slow  low\\nlow")
        >>> np.frombuffer(raw, "<u2").tolist() == tokenizer.encode("slow  low\\nlow")
        True
    """

    def __init__(self, tokenizer: GPT2Tokenizer, dtype: np.dtype) -> None:
        self._tokenizer, self._dtype = tokenizer, dtype
        self._find_words = _word_pattern().findall
        pieces = _Table(lambda piece: self._pack(tokenizer.encode_piece(piece)))
        self._words = _Table(
            lambda word: b"".join(map(pieces.__getitem__, _ASCII_PIECES.findall(word)))
        )
        self._pieces = pieces

    def encode(self, text: str) -> bytes:
        """Returns the token ids of a text as the bytes of an array."""
        words = self._find_words(text)
        self._words.shrink()
        self._pieces.shrink()
        long_words = [] if text.isascii() else self._learn_others(words)
        raw = b"".join(map(self._words.__getitem__, words))
        for word in long_words:
            del self._words[word]
        return raw

    def _learn_others(self, words: list[str]) -> list[str]:
        """Puts new words that are not ASCII into the table; returns those that may not stay."""
        known = self._words
        new = [word for word in set(words) if word not in known and not word.isascii()]
        known.update(zip(new, map(self._pack, self._tokenizer.encode(new)), strict=True))
        return [word for word in new if len(word) > LONGEST_CACHED]

    def _pack(self, ids: list[int]) -> bytes:
        return np.array(ids, self._dtype).tobytes()


class _Table(dict[str, bytes]):
    """Ids by text, computed where they are missing and kept if the text is short."""

    def __init__(self, compute: Callable[[str], bytes]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, text: str) -> bytes:
        raw = self._compute(text)
        if len(text) <= LONGEST_CACHED:
            self[text] = raw
        return raw

    def shrink(self) -> None:
        """Forgets everything if it is too much."""
        if len(self) > CACHED_WORDS:
            self.clear()


def _word_pattern() -> re.Pattern[str]:
    r"""Returns what finds words, each with one white space before it, and the rest of white space.

    Python's own `\s` has characters that GPT-2's has not, U+001C among them.
    """
    places = np.flatnonzero(character_classes() == WHITE_SPACE)
    space = re.escape("".join(map(chr, places.tolist())))
    return re.compile(f"[{space}]?[^{space}]+|[{space}]+(?![^{space}])")
