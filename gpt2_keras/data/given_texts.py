"""Texts as arguments: a `str` is a text, a `Path` a file of one or of several."""

import os
from collections.abc import Iterator, Sequence

from gpt2_keras.data.corpus_files import check_paths
from gpt2_keras.data.documents import empty_corpus, read_documents
from gpt2_keras.validation import check_path

Text = str | os.PathLike[str]


def named_texts(texts: Text | Sequence[Text]) -> Iterator[tuple[str, Text]]:
    """Yields each text with its name.

    Raises:
        TypeError: If a text is neither a `str` nor a path.
        ValueError: If there is none.

    Example:
        >>> list(named_texts("abc"))
        [('text 0', 'abc')]
    """
    listed = [texts] if isinstance(texts, str | os.PathLike) else list(texts)
    if not listed:
        raise ValueError("texts is empty. Use at least one text.")
    for index, text in enumerate(listed):
        check_path(f"texts[{index}]", text, advice="A str is a text, a Path a file.")
        yield (f"text {index}" if isinstance(text, str) else str(text)), text


def documents_of(text: Text) -> list[str]:
    """Returns the documents of a text: one, or the rows of a JSONL, CSV or Parquet file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not UTF-8, or empty.
    """
    if isinstance(text, str):
        return [text]
    files = check_paths([text])
    documents = ["".join(document.chunks) for document in read_documents(files)]
    if not any(documents):
        raise empty_corpus(files)
    return documents
