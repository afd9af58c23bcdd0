"""Texts as arguments: a `str` is a text, a `Path` a file of one or of several."""

import os
from collections.abc import Iterator, Sequence

from gpt2_keras.data.corpus_files import check_paths
from gpt2_keras.data.documents import empty_corpus, read_documents
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer
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


def encoded_documents(
    tokenizer: GPT2Tokenizer,
    texts: Text | Sequence[Text],
    *,
    max_characters: int | None = None,
) -> Iterator[list[int]]:
    """Yields the token ids of each document of texts that has any.

    Args:
        tokenizer: Encodes them.
        texts: A `str` is a text, a `Path` a file.
        max_characters: Largest number of characters of a document to encode, from the first on.

    Raises:
        TypeError, FileNotFoundError: As `named_texts` and `documents_of`.
        ValueError: As those; at the end, if there was no token.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
        >>> list(encoded_documents(tokenizer, ["a", "", "b"]))
        [[64], [65]]
    """
    names, any_token = [], False
    for name, text in named_texts(texts):
        names.append(name)
        for document in documents_of(text):
            if ids := tokenizer.encode(document[:max_characters]):
                any_token = True
                yield ids
    if not any_token:
        raise ValueError(f"{', '.join(names)} has no token. Use a longer text.")


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
