"""GPT-2's tokenizer inside a TensorFlow graph, as integer arithmetic in core ops."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.flat_arrays import marks, positions, ranges, replaced
from gpt2_keras.tokenizer.merge_tables import build_merge_tables
from gpt2_keras.tokenizer.merging import Merger
from gpt2_keras.tokenizer.pretokens import find_starts
from gpt2_keras.tokenizer.specials import find_specials
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION, class_pages
from gpt2_keras.tokenizer.utf8 import PADDING, replace_invalid
from gpt2_keras.tokenizer.word_lookup import WordLookup, find_equal

if TYPE_CHECKING:
    from gpt2_keras.tokenizer.host import GPT2Tokenizer


class GraphTokenizer(tf.Module):
    """Turns strings into token ids and back, in eager code and in any graph.

    The ids equal those of OpenAI's `encoder.py` for every text. A byte that is
    not part of valid UTF-8 counts as a character that is neither letter nor
    number nor white space, which is what `encoder.py` does with a text decoded
    by `errors="surrogateescape"`.

    It has no state: its tables are constants, so it works in `tf.function`, in
    `tf.data`, and in a SavedModel without any file beside the graph.

    Args:
        tokens: The bytes of each id; of a special token its text in UTF-8.
        merges: Pairs of ids in the order of their rank. The id of a merge is
            that of its bytes.
        special_tokens: Ids of the special tokens by their text.
        unicode_version: The version of Unicode whose letters and numbers
            count, one for which there is a table.

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
    ) -> None:
        super().__init__(name="graph_tokenizer")
        self.unicode_version = unicode_version
        tables = build_merge_tables(tokens, merges, special_tokens)
        self._special_symbols = {
            text: tables.special_symbol(index) for index, text in enumerate(special_tokens)
        }
        self._merge = Merger(tables)
        self._find_words = WordLookup(tables)
        sizes = np.array([len(token) for token in tables.token_bytes], np.int32)
        first_of_page, class_of = class_pages(unicode_version)
        with tf.init_scope():
            self._first_of_page = tf.constant(first_of_page)
            self._class_of = tf.constant(class_of)
            self._token_ids = tf.constant(tables.token_ids)
            pool = np.frombuffer(b"".join(tables.token_bytes), np.uint8)
            self._pool = tf.constant(pool)
            ends = np.cumsum(sizes)
            # Behind the last token one of no bytes.
            self._token_starts = tf.constant(np.array([0, *ends, *ends[-1:]], np.int32))
            self._byte_strings = tf.constant([bytes([value]) for value in range(256)])
        self._vocab_size = len(sizes)

    @classmethod
    def from_tokenizer(cls, tokenizer: "GPT2Tokenizer") -> Self:
        """Returns the in-graph twin of a host tokenizer.

        Args:
            tokenizer: The host tokenizer.
        """
        return cls(tokenizer.token_bytes, tokenizer.merges, tokenizer.special_tokens)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self._vocab_size

    @tf.autograph.experimental.do_not_convert
    def tokenize(self, texts: tf.Tensor, allowed_special: Collection[str] = ()) -> tf.RaggedTensor:
        """Turns texts into token ids.

        Args:
            texts: String tensor `(batch,)`, UTF-8 or any other bytes.
            allowed_special: Texts of the special tokens that become their ids.
                All others are plain text. Where several could begin, the
                longest counts.

        Returns:
            int32 ragged tensor `(batch, None)`.

        Raises:
            ValueError: If `allowed_special` names what is no special token.
        """
        texts = tf.convert_to_tensor(texts)
        lengths = tf.strings.length(texts)
        row_ends = tf.cumsum(lengths)
        data = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)  # (size,)
        ids, ends = self.tokenize_bytes(data, row_ends - lengths, row_ends, allowed_special)
        return tf.RaggedTensor.from_row_splits(ids, tf.concat([[0], ends], 0), validate=False)

    @tf.autograph.experimental.do_not_convert
    def detokenize(
        self, token_ids: tf.Tensor, num_tokens: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns token ids into texts.

        Args:
            token_ids: int32 tensor `(batch, time)`. Ids outside the vocabulary
                stand for no bytes.
            num_tokens: int32 tensor `(batch,)`, how many ids of each row count.

        Returns:
            `text` and `text_bytes`, string tensors `(batch,)`: valid UTF-8,
            equal to Python's `text_bytes.decode("utf-8", errors="replace")`,
            and the raw bytes.
        """
        token_ids = tf.cast(token_ids, tf.int32)
        num_tokens = tf.minimum(tf.cast(num_tokens, tf.int32), tf.shape(token_ids)[1])
        ragged = tf.RaggedTensor.from_tensor(token_ids, lengths=num_tokens)
        data, sizes = self.detokenize_ids(ragged.values)
        byte_rows = tf.RaggedTensor.from_row_splits(sizes, ragged.row_splits, validate=False)
        row_sizes = tf.cast(tf.reduce_sum(byte_rows, axis=1), tf.int32)  # (batch,)
        row_ends = tf.cumsum(row_sizes)
        fixed, fixed_ends = self.replace_invalid(data, row_ends - row_sizes, row_ends)
        return self._strings(fixed, fixed_ends), self._strings(data, row_ends)

    @tf.autograph.experimental.do_not_convert
    def tokenize_bytes(
        self,
        data: tf.Tensor,
        row_starts: tf.Tensor,
        row_ends: tf.Tensor,
        allowed_special: Collection[str] = (),
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns texts that lie behind one another into token ids.

        Args:
            data: uint8 or int32 tensor `(size,)` of bytes. Of uint8, whole words
                are looked up first, with 64-bit integers, which LiteRT lacks.
            row_starts: int32 tensor `(batch,)`, where each text begins.
            row_ends: int32 tensor `(batch,)`, where each text ends.
            allowed_special: As in `tokenize`.

        Returns:
            The token ids, int32 `(tokens,)`, and where those of each text end,
            int32 `(batch,)`.

        Raises:
            ValueError: If `allowed_special` names what is no special token.
        """
        self.check_special(allowed_special)
        size = tf.shape(data)[0]
        data = tf.concat([data, tf.zeros([PADDING], data.dtype)], 0)
        border = marks(tf.concat([row_starts, row_ends], 0), size + PADDING)
        specials = None
        if allowed_special:
            texts = [text.encode() for text in allowed_special]
            specials = find_specials(data, border, texts)
            edges = tf.concat([specials.at, specials.at + specials.size], 0)
            border = border | marks(edges, size + PADDING)
        starts = find_starts(data, border, self._first_of_page, self._class_of)
        if specials is not None:
            inside = ranges(specials.at + 1, specials.size - 1)
            starts = replaced(starts, inside, tf.zeros_like(inside, tf.bool))
        words = positions(starts[:size])
        word_sizes = tf.concat([words, tf.reshape(size, [1])], 0)[1:] - words
        if specials is None:
            special_words = special_symbols = tf.zeros([0], tf.int32)
        else:
            # `searchsorted` would say it too, but LiteRT has none.
            words_so_far = tf.cumsum(tf.cast(starts, tf.int32))
            special_words = tf.gather(words_so_far, specials.at) - 1
            known = tf.constant([self._special_symbols[text] for text in allowed_special])
            special_symbols = tf.gather(known, specials.index)
        if data.dtype == tf.uint8:
            given = special_words, tf.gather(self._token_ids, special_symbols)
            ids, sizes = self._look_words_up(data, words, word_sizes, given)
        else:
            symbols = data
            if specials is not None:
                symbols = replaced(symbols, specials.at, special_symbols)
                word_sizes = replaced(word_sizes, special_words, tf.ones_like(special_words))
            symbols, starts, sizes = self._merge_words(symbols, words, word_sizes)
            ids = tf.gather(self._token_ids, tf.gather(symbols, ranges(starts, sizes)))
        token_ends = tf.concat([[0], tf.cumsum(sizes)], 0)
        words_before = tf.searchsorted(words, row_ends)
        return ids, tf.gather(token_ends, words_before)

    @tf.autograph.experimental.do_not_convert
    def detokenize_ids(self, token_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns token ids into bytes.

        Args:
            token_ids: int32 tensor `(tokens,)`.

        Returns:
            The bytes, int32 `(size,)`, and how many are of each token, int32
            `(tokens,)`.
        """
        is_known = (token_ids >= 0) & (token_ids < self._vocab_size)
        token_ids = tf.where(is_known, token_ids, self._vocab_size)
        starts = tf.gather(self._token_starts, token_ids)
        sizes = tf.gather(self._token_starts, token_ids + 1) - starts
        at = ranges(starts, sizes)
        return tf.cast(tf.gather(self._pool, at), tf.int32), sizes

    @tf.autograph.experimental.do_not_convert
    def replace_invalid(
        self, data: tf.Tensor, row_starts: tf.Tensor, row_ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes texts that lie behind one another valid UTF-8.

        Args:
            data: int32 tensor `(size,)` of bytes.
            row_starts: int32 tensor `(batch,)`, where each text begins.
            row_ends: int32 tensor `(batch,)`, where each text ends.

        Returns:
            The new bytes, int32 `(new_size,)`, and where each text ends in
            them, int32 `(batch,)`.
        """
        size = tf.shape(data)[0]
        data = tf.concat([data, tf.zeros([PADDING], tf.int32)], 0)
        border = marks(tf.concat([row_starts, row_ends], 0), size + PADDING)
        fixed, sizes = replace_invalid(data, border)
        ends = tf.cumsum(sizes, exclusive=True)
        return fixed[: tf.shape(fixed)[0] - PADDING], tf.gather(ends, row_ends)

    def _look_words_up(
        self,
        data: tf.Tensor,
        words: tf.Tensor,
        sizes: tf.Tensor,
        given: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids of all words, and the number of each word's, `(words,)`.

        Merges only the words that are not one token, and each of them once.
        Special tokens are `given` as words and ids.
        """
        token_ids, unknown = self._find_words(data, words, sizes, given)
        firsts, which = find_equal(unknown)
        symbols, starts, counts = self._merge_words(
            tf.cast(data, tf.int32), tf.gather(unknown.at, firsts), tf.gather(unknown.sizes, firsts)
        )
        # Behind the ids of the words that are one token lie those of the others.
        pool = tf.concat([token_ids, tf.gather(self._token_ids, symbols)], 0)
        at = positions(token_ids < 0)
        num_words = tf.shape(words)[0]
        starts = replaced(tf.range(num_words), at, num_words + tf.gather(starts, which))
        counts = replaced(tf.ones_like(words), at, tf.gather(counts, which))
        return tf.gather(pool, ranges(starts, counts)), counts

    def _merge_words(
        self, symbols: tf.Tensor, words: tf.Tensor, sizes: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges words; returns what `Merger` does."""
        symbols = tf.gather(symbols, ranges(words, sizes + 1))
        ends = tf.cumsum(sizes + 1) - 1
        return self._merge(replaced(symbols, ends, tf.fill(tf.shape(ends), self._merge.separator)))

    def _strings(self, data: tf.Tensor, row_ends: tf.Tensor) -> tf.Tensor:
        """Returns the strings of bytes that lie behind one another."""
        row = tf.searchsorted(row_ends, tf.range(tf.shape(data)[0]), side="right")
        pieces = tf.gather(self._byte_strings, data)
        return tf.strings.unsorted_segment_join(pieces, row, tf.shape(row_ends)[0])

    def check_special(self, allowed_special: Collection[str]) -> None:
        """Refuses what names no special token.

        Args:
            allowed_special: Texts of special tokens.

        Raises:
            ValueError: If one of them is no special token.
        """
        known = self._special_symbols
        unknown = sorted(set(allowed_special) - set(known))
        if unknown:
            raise ValueError(
                "`allowed_special` names special tokens of the vocabulary. "
                f"Received: {', '.join(map(repr, unknown))}. "
                f"This vocabulary has {', '.join(map(repr, known)) or 'none'}."
            )
