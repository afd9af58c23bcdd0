"""Cleaning of text that is the same for every language."""

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Iterator

from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.text import cut_safely

_LINE_ENDS = re.compile("[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")


def clean_text(text: str, *, clean: bool = True, nfc: bool = False) -> str:
    """Returns a text cleaned as `PreparationOptions` says.

    Args:
        text: Text.
        clean: Whether to make line ends one, and leave out control characters.
        nfc: Whether to compose characters.

    Example:
        >>> clean_text("one\\r\\ntwo\\x07\\u2028three")
        'one\\ntwo\\nthree'
        >>> len(clean_text("e\\u0301", nfc=True))
        1
    """
    if clean:
        text = _LINE_ENDS.sub("\n", text.replace("\r\n", "\n"))
        text = _CONTROLS.sub("", text)
    return unicodedata.normalize("NFC", text) if nfc else text


def cleaned(
    documents: Iterable[Document], options: PreparationOptions, counts: collections.Counter[str]
) -> Iterator[Document]:
    """Cleans documents, and leaves out those that are then empty or too short.

    Args:
        documents: Documents.
        options: How to clean, and what is too short.
        counts: Where those left out are counted, as `short`.
    """
    for document in documents:
        kept = _cleaned(document, options) if options.clean or options.nfc else document
        if _is_long_enough(kept.pieces, max(1, options.min_characters)):
            yield kept
        else:
            counts["short"] += 1


def _is_long_enough(pieces: Iterable[str], minimum: int) -> bool:
    count = 0
    return any((count := count + len(piece)) >= minimum for piece in pieces)


def _cleaned(document: Document, options: PreparationOptions) -> Document:
    if isinstance(document.pieces, tuple):
        texts = [clean_text(text, clean=options.clean, nfc=options.nfc) for text in document.pieces]
        return dataclasses.replace(document, pieces=tuple(text for text in texts if text))
    return dataclasses.replace(document, pieces=_CleanedFile(document, options))


@dataclasses.dataclass
class _CleanedFile:
    """The cleaned pieces of a text file, read anew each time."""

    document: Document
    options: PreparationOptions

    def __iter__(self) -> Iterator[str]:
        return cut_safely(self._cleaned(), self.document.path)

    def _cleaned(self) -> Iterator[str]:
        # Pieces begin with characters that compose with none before them. Only a CR LF may
        # be cut in two.
        held = ""
        for piece in self.document.pieces:
            text = held + piece
            held = "\r" if text.endswith("\r") else ""
            text = text.removesuffix("\r")
            yield clean_text(text, clean=self.options.clean, nfc=self.options.nfc)
        yield clean_text(held, clean=self.options.clean, nfc=self.options.nfc)
