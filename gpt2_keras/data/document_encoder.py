"""Documents to token ids, as the options say."""

import collections
import random
from collections.abc import Iterator

import numpy as np

from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from gpt2_keras.tokenizer.bulk import BulkEncoder
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

# Short documents are encoded together until they have so many characters.
BATCH_CHARACTERS = 256 * 1024


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
        end = [tokenizer.end_token_id] if options.end_of_text else []
        self._end = np.array(end, dtype).tobytes()
        self._bulk = BulkEncoder(tokenizer, dtype, between=end)
        self._dropout = BPEDropout(tokenizer, options.bpe_dropout)
        # By side: documents to encode, the last of which goes on; an end comes between two.
        self._texts = collections.defaultdict[str, list[str]](lambda: [""])
        self._sizes = collections.Counter[str]()

    def add(self, document: Document, digest: bytes, side: str) -> Iterator[bytes]:
        """Takes a document; yields the ids that are ready, of it and of those before it.

        Args:
            document: A document.
            digest: Its hash; with the seed it decides what is dropped.
            side: The ids of each side come for themselves.

        Yields:
            Ids as the bytes of arrays.
        """
        if self._options.bpe_dropout:
            yield from self._with_dropout(document, digest)
            return
        for piece in document.pieces:
            self._texts[side][-1] += piece
            self._sizes[side] += len(piece)
            if self._sizes[side] >= BATCH_CHARACTERS:
                yield self.finish(side)
        self._texts[side].append("")

    def finish(self, side: str) -> bytes:
        """Returns the ids of a side that `add` has not given yet."""
        self._sizes[side] = 0
        return self._bulk.encode_texts(self._texts.pop(side, []))

    def _with_dropout(self, document: Document, digest: bytes) -> Iterator[bytes]:
        # Not secrets, and the same on every machine and version of Python.
        source = random.Random(self._options.seed.to_bytes(8, "big") + digest)  # noqa: S311
        for piece in document.pieces:
            yield np.array(self._dropout.encode(piece, source), self._dtype).tobytes()
        yield self._end
