"""Documents to token ids, as the options say."""

import random
from collections.abc import Iterator

import numpy as np

from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from gpt2_keras.tokenizer.bulk import BulkEncoder
from gpt2_keras.tokenizer.host import GPT2Tokenizer


class DocumentEncoder:
    """Turns documents into token ids, each the same wherever it is in a corpus.

    Args:
        tokenizer: Makes the ids.
        options: Say whether merges are dropped, and documents ended.
        dtype: Integer type of the ids.
    """

    def __init__(
        self, tokenizer: GPT2Tokenizer, options: PreparationOptions, dtype: np.dtype
    ) -> None:
        self._options, self._dtype = options, dtype
        self._bulk = BulkEncoder(tokenizer, dtype)
        self._dropout = BPEDropout(tokenizer, options.bpe_dropout)
        self._end = np.array([tokenizer.end_token_id], dtype).tobytes()

    def encode(self, document: Document, digest: bytes) -> Iterator[bytes]:
        """Yields the ids of a document as the bytes of arrays.

        Args:
            document: A document.
            digest: Its hash; with the seed it decides what is dropped.
        """
        # Not secrets, and the same on every machine and version of Python.
        source = random.Random(self._options.seed.to_bytes(8, "big") + digest)  # noqa: S311
        for piece in document.pieces:
            if self._options.bpe_dropout:
                yield np.array(self._dropout.encode(piece, source), self._dtype).tobytes()
            else:
                yield self._bulk.encode(piece)
        if self._options.end_of_text:
            yield self._end
