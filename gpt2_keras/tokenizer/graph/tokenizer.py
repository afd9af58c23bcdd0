"""GPT-2's tokenizer inside a TensorFlow graph, as integer arithmetic in core ops."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import (
    concat_ranges,
    gather,
    nonzero,
    ragged_ranges,
    scatter_update,
)
from gpt2_keras.tokenizer.graph.bpe import Merger
from gpt2_keras.tokenizer.graph.detokenizer import Detokenizer
from gpt2_keras.tokenizer.graph.merge_tables import build_merge_tables
from gpt2_keras.tokenizer.graph.pretoken_lookup import UNKNOWN, PreTokenLookup, to_words
from gpt2_keras.tokenizer.graph.pretokenizer import PreTokenizer
from gpt2_keras.tokenizer.graph.special_tokens import find_special_tokens, replace_special_tokens
from gpt2_keras.tokenizer.graph.symbols import NUM_BYTES
from gpt2_keras.tokenizer.graph.utf8 import BORDER, PADDING, CharacterReader
from gpt2_keras.tokenizer.special_tokens import check_allowed_special
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION

if TYPE_CHECKING:
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

AllowedSpecial = Literal["none", "all"] | Collection[str]
NO_TOKEN = -2  # the id of a border; less than `UNKNOWN`


class GraphTokenizer(tf.Module):
    """Turns strings into token ids and back, in eager code and in any graph.

    The ids equal those of OpenAI's `encoder.py` for every text. A byte that is
    not part of valid UTF-8 counts as a character that is neither letter nor
    number nor white space, as `encoder.py` has it for a text decoded by
    `errors="surrogateescape"`.

    It has no state: its tables are constants, so it works in `tf.function`, in
    `tf.data`, and in a SavedModel without any file beside the graph.

    Args:
        tokens: The bytes of each id; of a special token its text in UTF-8.
        merges: Pairs of ids in the order of their rank. The id of a merge is
            that of its bytes.
        special_tokens: Ids of the special tokens by their text.
        unicode_version: The version of Unicode that says which characters are
            letters and numbers, one for which there is a table. It is in the
            graph: the pre-tokenizer's ops are in the scope `unicode-16.0.0`.
        allowed_special: `"all"`, `"none"`, or the texts of the special tokens that
            become their ids. All others are plain text.

    Raises:
        ValueError: If vocabulary and merges do not fit together, see
            `build_merge_tables`, or there is no table of the Unicode version.

    Example:
        >>> tokens = [bytes([value]) for value in range(256)] + [b"he", b"<end>"]
        >>> tokenizer = GraphTokenizer(tokens, [(104, 101)], {"<end>": 257})
        >>> tokenizer.tokenize(["hey", ""]).to_list()
        [[256, 121], []]
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[int, int]],
        special_tokens: Mapping[str, int],
        unicode_version: str = UNICODE_VERSION,
        allowed_special: AllowedSpecial = "none",
    ) -> None:
        super().__init__(name="graph_tokenizer")
        self.unicode_version = unicode_version
        tables = build_merge_tables(tokens, merges, special_tokens)
        symbols = tables.symbols
        # The code of each special token among the bytes.
        self._special_codes = {text: code for code, text in enumerate(special_tokens, BORDER + 1)}
        self._allowed_special = check_allowed_special(allowed_special, special_tokens)
        self._first_special = symbols.special_symbol(0)
        self._merge = Merger(tables)
        self._look_up = PreTokenLookup(tables)
        self._pre_tokenize = PreTokenizer(unicode_version, len(special_tokens), symbols.joined)
        self.detokenizer = Detokenizer(symbols.token_bytes, CharacterReader(unicode_version))
        token_ids, number = symbols.token_ids, np.arange(len(symbols.token_ids))
        if (token_ids[NUM_BYTES:-1] == number[NUM_BYTES:-1]).all():
            token_ids = token_ids[:NUM_BYTES]
        with tf.init_scope():
            self._token_ids = tf.constant(token_ids)
            special_ids = [NO_TOKEN, *special_tokens.values(), NO_TOKEN]
            self._special_ids = tf.constant(special_ids, tf.int32)
        self.vocab_size = len(symbols.token_bytes)

    @classmethod
    def from_tokenizer(cls, tokenizer: "GPT2Tokenizer") -> Self:
        """Returns the in-graph tokenizer with the ids of a host tokenizer, and its policy.

        Args:
            tokenizer: The host tokenizer.
        """
        return cls(
            tokenizer.token_bytes,
            tokenizer.merges,
            tokenizer.special_tokens,
            allowed_special=tokenizer.allowed_special,
        )

    @tf.autograph.experimental.do_not_convert
    def tokenize(
        self, texts: tf.Tensor, allowed_special: AllowedSpecial | None = None
    ) -> tf.RaggedTensor:
        """Turns texts into token ids.

        Args:
            texts: String tensor `(batch,)`, UTF-8 or any other bytes.
            allowed_special: As for the class, instead of what was given there.
                Where several could begin, the longest does.

        Returns:
            int32 ragged tensor `(batch, None)`.

        Raises:
            ValueError: If `allowed_special` has what is no special token.
        """
        texts = tf.convert_to_tensor(texts)
        joined = tf.strings.reduce_join(texts, axis=0, separator=" ")
        row_ends = tf.cumsum(tf.strings.length(texts) + 1)
        text = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int32)  # (size,)
        allowed = self._allowed(allowed_special)
        data, starts, sizes = self._split(text, row_ends, allowed)
        words = to_words(joined, tf.size(text))
        token_ids = self._look_up(words, starts, sizes)
        first = gather(data, starts)
        if allowed:
            special_ids = tf.gather(self._special_ids, tf.maximum(first - BORDER, 0))
        else:
            special_ids = NO_TOKEN
        token_ids = tf.where(first < BORDER, token_ids, special_ids)
        borders = nonzero(tf.equal(first, BORDER))
        unknown = nonzero(tf.equal(token_ids, UNKNOWN))
        ids, ends = tf.cond(
            tf.size(unknown) > 0,
            lambda: self._merge_unknown(words, data, starts, sizes, token_ids, unknown, borders),
            lambda: _all_known(token_ids, borders),
        )
        # Without a text there is one border nonetheless.
        splits = tf.concat([[0], ends], 0)[: tf.size(texts) + 1]
        return tf.RaggedTensor.from_row_splits(ids, splits, validate=False)

    @tf.autograph.experimental.do_not_convert
    def detokenize(
        self, token_ids: tf.Tensor, num_tokens: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns token ids into texts.

        Args:
            token_ids: int32 tensor `(batch, time)`. Ids outside the vocabulary
                give no bytes.
            num_tokens: int32 tensor `(batch,)`, the number of ids of each row;
                those after them are padding.

        Returns:
            `text` and `text_bytes`, string tensors `(batch,)`: valid UTF-8,
            equal to Python's `text_bytes.decode("utf-8", errors="replace")`,
            and the raw bytes.
        """
        return self.detokenizer(token_ids, num_tokens)

    @tf.autograph.experimental.do_not_convert
    def tokenize_bytes(
        self, text: tf.Tensor, allowed_special: AllowedSpecial | None = None
    ) -> tf.Tensor:
        """Turns the bytes of one text into token ids, in ops that LiteRT has.

        Args:
            text: int32 tensor `(size,)` of bytes.
            allowed_special: As in `tokenize`.

        Returns:
            The token ids, int32 `(tokens,)`.

        Raises:
            ValueError: If `allowed_special` has what is no special token.
        """
        allowed = self._allowed(allowed_special)
        data, starts, sizes = self._split(text, None, allowed)
        starts, sizes = starts[:-1], sizes[:-1]  # without the border after the text
        if allowed:
            is_special = tf.gather(data, starts) > BORDER
            sizes = tf.where(is_special, 1, sizes)
            data = tf.where(data > BORDER, data - BORDER - 1 + self._first_special, data)
        symbols, starts, sizes = self._merge(data, starts, sizes)
        return self._ids_of(tf.gather(symbols, concat_ranges(starts, sizes)[0]))

    def _allowed(self, allowed_special: AllowedSpecial | None) -> tuple[str, ...]:
        """Returns the special tokens that become their ids."""
        if allowed_special is None:
            return self._allowed_special
        return check_allowed_special(allowed_special, self._special_codes)

    def _split(
        self, text: tf.Tensor, row_ends: tf.Tensor | None, allowed: Sequence[str]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Splits texts into pre-tokens, of which each border is one.

        Args:
            text: int32 `(size,)`, bytes, with one more after each text but the last.
            row_ends: int32 `(batch,)`, one more than where each text ends.
            allowed: The special tokens that become their ids.

        Returns:
            The text with borders and special tokens as codes, and by pre-token
            its first byte and its number of bytes.
        """
        data = tf.concat([[BORDER], text, [BORDER] * PADDING], 0)
        if row_ends is not None:
            data = scatter_update(data, row_ends, tf.fill(tf.shape(row_ends), BORDER))
        if allowed:
            found = find_special_tokens(data, [special.encode() for special in allowed])
            codes = [self._special_codes[special] for special in allowed]
            inside = BORDER + 1 + len(self._special_codes)
            data = replace_special_tokens(data, found, codes, inside)
        # Every SavedModel has the name: it says which characters are letters and numbers.
        with tf.name_scope(f"unicode-{self.unicode_version}"):
            starts = nonzero(self._pre_tokenize(data))
        # Of the borders after the last text, only the first is a pre-token.
        firsts = starts[: 2 - PADDING]
        return data[1:], firsts, starts[1 : 3 - PADDING] - firsts

    def _merge_unknown(
        self,
        words: tf.Tensor,
        data: tf.Tensor,
        starts: tf.Tensor,
        sizes: tf.Tensor,
        token_ids: tf.Tensor,
        unknown: tf.Tensor,
        borders: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the unknown pre-tokens, equal ones once; returns as `_all_known` does."""
        unknown_starts, unknown_sizes = tf.gather(starts, unknown), tf.gather(sizes, unknown)
        firsts, which = self._look_up.find_equal(words, unknown_starts, unknown_sizes)
        symbols, id_starts, counts = self._merge(
            data, tf.gather(unknown_starts, firsts), tf.gather(unknown_sizes, firsts)
        )
        # After the ids of the pre-tokens that are one token come those of the others.
        all_ids = tf.concat([token_ids, self._ids_of(symbols)], 0)
        count = tf.size(starts)
        id_starts = scatter_update(tf.range(count), unknown, count + gather(id_starts, which))
        is_token = tf.cast(token_ids > NO_TOKEN, tf.int32)
        counts = scatter_update(is_token, unknown, gather(counts, which))
        indices, splits = ragged_ranges(id_starts, counts)
        return gather(all_ids, indices), tf.gather(splits, borders)

    def _ids_of(self, symbols: tf.Tensor) -> tf.Tensor:
        """Returns the ids of symbols."""
        if len(self._token_ids) > NUM_BYTES:
            return tf.gather(self._token_ids, symbols)
        # The other symbols are their ids.
        of_bytes = tf.gather(self._token_ids, tf.minimum(symbols, NUM_BYTES - 1))
        return tf.where(symbols < NUM_BYTES, of_bytes, symbols)


def _all_known(token_ids: tf.Tensor, borders: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the ids of pre-tokens of one token each, and where each text ends among them."""
    ids = gather(token_ids, nonzero(token_ids > NO_TOKEN))
    return ids, borders - tf.range(tf.size(borders))
