"""GPT-2's tokenizer inside a TensorFlow graph, as integer arithmetic in core ops."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import tensorflow as tf

from gpt2_keras.tokenizer.graph.array_ops import positions, ranges, replaced, taken
from gpt2_keras.tokenizer.graph.bpe import Merger
from gpt2_keras.tokenizer.graph.detokenizer import Detokenizer
from gpt2_keras.tokenizer.graph.merge_tables import NUM_BYTES, build_merge_tables
from gpt2_keras.tokenizer.graph.pretokenizer import PartFinder
from gpt2_keras.tokenizer.graph.special_tokens import find_specials, mark_specials
from gpt2_keras.tokenizer.graph.utf8 import BORDER, PADDING, CharacterReader
from gpt2_keras.tokenizer.graph.word_cache import UNKNOWN, WordLookup, eights_of
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION

if TYPE_CHECKING:
    from gpt2_keras.tokenizer.tokenizer import GPT2Tokenizer

NOTHING = -2  # the id of a border; less than `UNKNOWN`


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
            count, one for which there is a table. The graphs name it: ops of
            theirs are in the scope `unicode-16.0.0`.

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
        # What stands for a special token among the bytes.
        self._special_numbers = {
            text: number for number, text in enumerate(special_tokens, BORDER + 1)
        }
        self._first_special = tables.special_symbol(0)
        self._merge = Merger(tables)
        self._find_words = WordLookup(tables)
        self._find_parts = PartFinder(unicode_version, len(special_tokens), tables.joined)
        self.detokenizer = Detokenizer(tables.token_bytes, CharacterReader(unicode_version))
        token_ids, number = tables.token_ids, np.arange(len(tables.token_ids))
        if (token_ids[NUM_BYTES:-1] == number[NUM_BYTES:-1]).all():
            token_ids = token_ids[:NUM_BYTES]
        with tf.init_scope():
            self._token_ids = tf.constant(token_ids)
            special_ids = [NOTHING, *special_tokens.values(), NOTHING]
            self._special_ids = tf.constant(special_ids, tf.int32)
        self._vocab_size = len(tables.token_bytes)

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
        joined = tf.strings.reduce_join(texts, axis=0, separator=" ")
        row_ends = tf.cumsum(tf.strings.length(texts) + 1)
        text = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int32)  # (size,)
        data, words, sizes = self._cut(text, row_ends, allowed_special)
        eights = eights_of(joined, tf.size(text))
        token_ids = self._find_words(eights, words, sizes)
        head = taken(data, words)
        if allowed_special:
            given = tf.gather(self._special_ids, tf.maximum(head - BORDER, 0))
        else:
            given = NOTHING
        token_ids = tf.where(head < BORDER, token_ids, given)
        borders = positions(tf.equal(head, BORDER))
        unknown = positions(tf.equal(token_ids, UNKNOWN))
        ids, ends = tf.cond(
            tf.size(unknown) > 0,
            lambda: self._merge_unknown(eights, data, words, sizes, token_ids, unknown, borders),
            lambda: _known(token_ids, borders),
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
                stand for no bytes.
            num_tokens: int32 tensor `(batch,)`, how many ids of each row count.

        Returns:
            `text` and `text_bytes`, string tensors `(batch,)`: valid UTF-8,
            equal to Python's `text_bytes.decode("utf-8", errors="replace")`,
            and the raw bytes.
        """
        return self.detokenizer(token_ids, num_tokens)

    @tf.autograph.experimental.do_not_convert
    def tokenize_bytes(self, text: tf.Tensor, allowed_special: Collection[str] = ()) -> tf.Tensor:
        """Turns the bytes of one text into token ids, in ops that LiteRT has.

        Args:
            text: int32 tensor `(size,)` of bytes.
            allowed_special: As in `tokenize`.

        Returns:
            The token ids, int32 `(tokens,)`.

        Raises:
            ValueError: If `allowed_special` names what is no special token.
        """
        data, words, sizes = self._cut(text, None, allowed_special)
        words, sizes = words[:-1], sizes[:-1]  # without the border behind the text
        if allowed_special:
            is_special = tf.gather(data, words) > BORDER
            sizes = tf.where(is_special, 1, sizes)
            data = tf.where(data > BORDER, data - BORDER - 1 + self._first_special, data)
        symbols, starts, sizes = self._merge(data, words, sizes)
        return self._ids_of(tf.gather(symbols, ranges(starts, sizes)[0]))

    def _cut(
        self, text: tf.Tensor, row_ends: tf.Tensor | None, allowed_special: Collection[str]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cuts texts into words, of which each border is one.

        Args:
            text: int32 `(size,)`, bytes, with one more behind each text but the last.
            row_ends: int32 `(batch,)`, one more than where each text ends.
            allowed_special: As in `tokenize`.

        Returns the text with borders and special tokens as numbers of their
        own, and by word where it begins and its number of bytes.
        """
        self.check_special(allowed_special)
        data = tf.concat([[BORDER], text, [BORDER] * PADDING], 0)
        if row_ends is not None:
            data = replaced(data, row_ends, tf.fill(tf.shape(row_ends), BORDER))
        if allowed_special:
            found = find_specials(data, [special.encode() for special in allowed_special])
            numbers = [self._special_numbers[special] for special in allowed_special]
            data = mark_specials(data, found, numbers, BORDER + 1 + len(self._special_numbers))
        # The name goes into every SavedModel: it says which letters and numbers count.
        with tf.name_scope(f"unicode-{self.unicode_version}"):
            starts = positions(self._find_parts(data))
        # Of the borders behind the last text, only the first counts.
        words = starts[: 2 - PADDING]
        return data[1:], words, starts[1 : 3 - PADDING] - words

    def _merge_unknown(
        self,
        eights: tf.Tensor,
        data: tf.Tensor,
        words: tf.Tensor,
        sizes: tf.Tensor,
        token_ids: tf.Tensor,
        unknown: tf.Tensor,
        borders: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the unknown words, each different one once; returns as `_known` does."""
        at, size = tf.gather(words, unknown), tf.gather(sizes, unknown)
        firsts, which = self._find_words.find_equal(eights, at, size)
        symbols, starts, counts = self._merge(data, tf.gather(at, firsts), tf.gather(size, firsts))
        # Behind the ids of the words that are one token lie those of the others.
        pool = tf.concat([token_ids, self._ids_of(symbols)], 0)
        num_words = tf.size(words)
        starts = replaced(tf.range(num_words), unknown, num_words + taken(starts, which))
        counts = replaced(tf.cast(token_ids > NOTHING, tf.int32), unknown, taken(counts, which))
        at, ends = _ragged_ranges(starts, counts)
        return taken(pool, at), tf.gather(ends, borders)

    def _ids_of(self, symbols: tf.Tensor) -> tf.Tensor:
        """Returns the ids of symbols."""
        if len(self._token_ids) > NUM_BYTES:
            return tf.gather(self._token_ids, symbols)
        # The other symbols are their ids.
        of_bytes = tf.gather(self._token_ids, tf.minimum(symbols, NUM_BYTES - 1))
        return tf.where(symbols < NUM_BYTES, of_bytes, symbols)

    def check_special(self, allowed_special: Collection[str]) -> None:
        """Refuses what names no special token.

        Args:
            allowed_special: Texts of special tokens.

        Raises:
            ValueError: If one of them is no special token.
        """
        known = self._special_numbers
        unknown = sorted(set(allowed_special) - set(known))
        if unknown:
            raise ValueError(
                "`allowed_special` names special tokens of the vocabulary. "
                f"Received: {', '.join(map(repr, unknown))}. "
                f"This vocabulary has {', '.join(map(repr, known)) or 'none'}."
            )


def _known(token_ids: tf.Tensor, borders: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the ids of words of one token each, and how many are before each border."""
    ids = taken(token_ids, positions(token_ids > NOTHING))
    return ids, borders - tf.range(tf.size(borders))


def _ragged_ranges(starts: tf.Tensor, sizes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `ranges` does, and where each range begins; faster, but not in LiteRT."""
    result = tf.raw_ops.RaggedRange(
        starts=starts, limits=starts + sizes, deltas=1, Tsplits=tf.int32
    )
    return result.rt_dense_values, result.rt_nested_splits
