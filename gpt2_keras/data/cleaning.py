"""Cleaning of documents, the same for every language."""

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Iterator

from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.text_files import rechunk

_LINE_ENDS = re.compile("[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")


def clean_text(text: str, *, clean: bool = True, nfc: bool = False) -> str:
    """Returns the cleaned text; see `PreparationOptions`.

    Args:
        text: Text.
        clean: Whether to convert line ends to `\\n` and remove control characters.
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


def clean_documents(
    documents: Iterable[Document], options: PreparationOptions, counts: collections.Counter[str]
) -> Iterator[Document]:
    """Cleans documents, and leaves out those that are then empty or too short.

    Args:
        documents: Documents.
        options: How to clean, and the smallest number of characters.
        counts: Counts those left out, as `short`.
    """
    for document in documents:
        kept = _clean(document, options) if options.clean or options.nfc else document
        if _has_characters(kept.chunks, max(1, options.min_characters)):
            yield kept
        else:
            counts["short"] += 1


def _has_characters(chunks: Iterable[str], minimum: int) -> bool:
    count = 0
    return any((count := count + len(chunk)) >= minimum for chunk in chunks)


def _clean(document: Document, options: PreparationOptions) -> Document:
    if isinstance(document.chunks, tuple):
        texts = [clean_text(text, clean=options.clean, nfc=options.nfc) for text in document.chunks]
        return dataclasses.replace(document, chunks=tuple(text for text in texts if text))
    return dataclasses.replace(document, chunks=_CleanedFile(document, options))


@dataclasses.dataclass
class _CleanedFile:
    """The cleaned chunks of a text file, read again by each iteration."""

    document: Document
    options: PreparationOptions

    def __iter__(self) -> Iterator[str]:
        return rechunk(self._cleaned(), self.document.path)

    def _cleaned(self) -> Iterator[str]:
        # Chunks begin with characters that compose with none before them. Only a CR LF may be
        # split between two.
        held = ""
        for chunk in self.document.chunks:
            text = held + chunk
            held = "\r" if text.endswith("\r") else ""
            text = text.removesuffix("\r")
            yield clean_text(text, clean=self.options.clean, nfc=self.options.nfc)
        yield clean_text(held, clean=self.options.clean, nfc=self.options.nfc)
