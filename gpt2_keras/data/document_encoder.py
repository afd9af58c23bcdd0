"""The encoding of documents as token ids."""

import collections
import random
from collections.abc import Iterator

import numpy as np

from gpt2_keras.data.documents import Document
from gpt2_keras.data.options import PreparationOptions
from gpt2_keras.data.text_files import last_boundary_between
from gpt2_keras.tokenizer.bpe_dropout import BPEDropout
from gpt2_keras.tokenizer.bulk import BulkEncoder
from gpt2_keras.tokenizer.special_tokens import special_token_pattern
from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

# Short documents are encoded together until they have so many characters.
BATCH_CHARACTERS = 256 * 1024


class DocumentEncoder:
    """Turns documents into token ids, each the same wherever it is in a corpus.

    Args:
        tokenizer: Encodes the text.
        options: Decide about BPE dropout and special tokens.
        dtype: Integer type of the ids.
    """

    def __init__(
        self, tokenizer: GPT2Tokenizer, options: PreparationOptions, dtype: np.dtype
    ) -> None:
        self._options, self._dtype = options, dtype
        tokenizer = tokenizer.with_special_tokens_policy(options.special_tokens)
        self._allowed = tokenizer.allowed_special
        self._special = special_token_pattern(self._allowed)
        end = [tokenizer.end_token_id] if options.end_of_text else []
        self._end = np.array(end, dtype).tobytes()
        self._bulk = BulkEncoder(tokenizer, dtype, between=end)
        self._dropout = BPEDropout(tokenizer, options.bpe_dropout)
        # By side: documents to encode, the last of them unfinished; an end comes between two.
        self._texts = collections.defaultdict[str, list[str]](lambda: [""])
        self._sizes = collections.Counter[str]()

    def add(self, document: Document, digest: bytes, side: str) -> Iterator[bytes]:
        """Adds a document; yields the ids that are ready, of it and of those before it.

        Args:
            document: A document.
            digest: Its hash; together with the seed the seed of its dropout.
            side: Side of the split; the ids of each side are separate.

        Yields:
            Ids as the bytes of arrays.
        """
        if self._options.bpe_dropout:
            yield from self._with_dropout(document, digest)
            return
        for chunk in document.chunks:
            self._texts[side][-1] += chunk
            self._sizes[side] += len(chunk)
            if self._sizes[side] >= BATCH_CHARACTERS:
                rest = self._take_unfinished(side)
                yield self.finish(side)
                self._texts[side][-1], self._sizes[side] = rest, len(rest)
        self._texts[side].append("")

    def finish(self, side: str) -> bytes:
        """Returns the ids of a side that `add` has not yielded yet."""
        self._sizes[side] = 0
        return self._bulk.encode_texts(self._texts.pop(side, []))

    def _take_unfinished(self, side: str) -> str:
        """Takes from the last document what may be, with its next chunk, a special token."""
        text = self._texts[side][-1]
        if not self._allowed:
            return ""  # chunks end at pre-token boundaries
        boundary = last_boundary_between(text, self._special, self._allowed)
        self._texts[side][-1] = text[:boundary]
        return text[boundary:]

    def _with_dropout(self, document: Document, digest: bytes) -> Iterator[bytes]:
        # Not for secrets; the same on every machine and version of Python.
        source = random.Random(self._options.seed.to_bytes(8, "big") + digest)  # noqa: S311
        text = ""
        for chunk in document.chunks:
            text += chunk
            boundary = len(text)
            if self._allowed:
                boundary = last_boundary_between(text, self._special, self._allowed)
            ids = self._dropout.encode(text[:boundary], source)
            yield np.array(ids, self._dtype).tobytes()
            text = text[boundary:]
        yield np.array(self._dropout.encode(text, source), self._dtype).tobytes()
        yield self._end
