"""GPT-2's tokenizer on the host: text to token ids and back, without TensorFlow."""

import functools
import hashlib
import json
import operator
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, Self, overload

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from gpt2_keras.tokenizer.files import (
    BYTE_TO_CHARACTER,
    END_OF_TEXT,
    Vocabulary,
    merges_text,
    read_vocabulary,
    unspell,
    write_files,
)

SMALLEST_VOCABULARY = 257  # the 256 bytes and <|endoftext|>
# A pair that occurs once saves nothing by being a token.
SMALLEST_PAIR_COUNT = 2


class GPT2Tokenizer:
    """Byte-level BPE: turns text into the token ids of GPT-2 and back.

    Text is split by GPT-2's pattern, each piece spelled as UTF-8 bytes, and
    neighbouring tokens merged, the earliest merge first, until none is left.
    Every text has ids, and decoding gives the same text back.

    A tokenizer never changes. It is made by `from_directory` or `train`, or
    from a vocabulary that is already in memory.

    Args:
        vocabulary: Token ids, merges and special tokens, checked.

    Source: openai/gpt-2 `src/encoder.py`. The pattern is that of `tokenizers`'
    `ByteLevel`, the same as OpenAI's.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> tokenizer.decode(tokenizer.encode("slow 🐢"))
        'slow 🐢'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        ids, special = vocabulary.ids, vocabulary.special_tokens
        self._special_tokens = {token: ids[token] for token in special}
        self._token_bytes = [
            token.encode() if token in self._special_tokens else unspell(token)
            for token in vocabulary.tokens
        ]
        # Special tokens are not made known to it: then no text becomes one.
        self._bpe = _byte_level_bpe(vocabulary)

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Self:
        """Loads the tokenizer of a directory.

        Args:
            path: Folder with `vocab.json` and `merges.txt`, or `encoder.json`
                and `vocab.bpe`, or `tokenizer.json`; the first of these that is
                there is read.

        Raises:
            FileNotFoundError: If the directory or the files are not there.
            ValueError: If a file is damaged, or two do not fit together.
        """
        return cls(read_vocabulary(path))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, show_progress: bool = False) -> Self:
        """Learns a vocabulary from text.

        Ids 0 to 255 are the bytes in OpenAI's order, then come the merges, the
        first one first, and `<|endoftext|>` is last. The same texts give the
        same vocabulary. Special tokens in the texts are plain text.

        Args:
            texts: Pieces of text, read once. A word that is cut by the end of a
                piece is learned as two.
            vocab_size: Number of tokens wanted, bytes and `<|endoftext|>`
                included, at least 257. Where the texts have fewer pairs that
                occur twice, the vocabulary is smaller: see the property
                `vocab_size`.
            show_progress: Whether to draw a progress bar on stderr.

        Raises:
            TypeError: If `texts` is one string, or has something else than
                strings, or `vocab_size` is not an integer.
            ValueError: If `vocab_size` is too small or the texts are empty.
        """
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int):
            raise TypeError(
                f"`vocab_size` must be an integer. Received: vocab_size={vocab_size!r}. "
                "Use, for example, 4096."
            )
        if vocab_size < SMALLEST_VOCABULARY:
            raise ValueError(
                f"`vocab_size` must be at least {SMALLEST_VOCABULARY}: the 256 bytes and "
                f"{END_OF_TEXT}. Received: vocab_size={vocab_size}. Use, for example, 4096."
            )
        if isinstance(texts, str | bytes):
            raise TypeError(
                "`texts` must be an iterable of strings. "
                f"Received: one {type(texts).__name__}. Use [text]."
            )
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,  # the trainer's own does not count <|endoftext|>
            min_frequency=SMALLEST_PAIR_COUNT,
            initial_alphabet=list(BYTE_TO_CHARACTER.values()),
            show_progress=show_progress,
        )
        bpe.train_from_iterator(_checked_texts(texts), trainer)
        merges = [(left, right) for left, right in json.loads(bpe.to_str())["model"]["merges"]]
        # Two merges may have one result; it keeps the id of the first.
        tokens = dict.fromkeys(BYTE_TO_CHARACTER.values())
        tokens.update(dict.fromkeys(left + right for left, right in merges))
        ids = {token: token_id for token_id, token in enumerate([*tokens, END_OF_TEXT])}
        return cls(Vocabulary(ids, merges))

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self._token_bytes)

    @property
    def end_token_id(self) -> int:
        """The id of `<|endoftext|>`."""
        return self._special_tokens[END_OF_TEXT]

    @property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens."""
        return dict(self._special_tokens)

    @property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each token id; for a special one, its text in UTF-8."""
        return list(self._token_bytes)

    @property
    def merges(self) -> list[tuple[int, int]]:
        """The pairs of token ids to merge, the first one first.

        The result of a pair is the token whose bytes are those of the two. In
        GPT-2's own vocabulary it is 256 + rank; a vocabulary trained elsewhere
        may have other ids.
        """
        ids = self._vocabulary.ids
        return [(ids[left], ids[right]) for left, right in self._vocabulary.merges]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the ids, in hexadecimal."""
        tokens, merges = self._vocabulary.tokens, self._vocabulary.merges
        content = json.dumps([tokens, merges, sorted(self._special_tokens)])
        return hashlib.sha256(content.encode()).hexdigest()

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
        self, text: str, *, allowed_special: Literal["all"] | Collection[str] = ()
    ) -> list[int]: ...

    @overload
    def encode(
        self, text: Sequence[str], *, allowed_special: Literal["all"] | Collection[str] = ()
    ) -> list[list[int]]: ...

    def encode(
        self,
        text: str | Sequence[str],
        *,
        allowed_special: Literal["all"] | Collection[str] = (),
    ) -> list[int] | list[list[int]]:
        """Turns text into token ids.

        Args:
            text: A string, or several. Lone surrogates, which no UTF-8 can
                spell, become U+FFFD, and pairs of them their character, as in
                tiktoken.
            allowed_special: The special tokens whose text becomes their id:
                `"all"`, or their names. By default none: `<|endoftext|>` in a
                text is plain text, as with tiktoken's `encode_ordinary`.

        Returns:
            The ids of the string, or a list of them for each string.

        Raises:
            TypeError: If `text` is neither a string nor strings.
            ValueError: If a name of `allowed_special` is no special token.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
            >>> tokenizer.encode("a<|endoftext|>", allowed_special="all")
            [64, 256]
        """
        allowed = self._allowed(allowed_special)
        if isinstance(text, str):
            return self._encode([text], allowed)[0]
        if isinstance(text, bytes) or not isinstance(text, Iterable):
            raise TypeError(
                "`text` must be a string or a sequence of strings. "
                f"Received: {type(text).__name__}. Decode bytes first: raw.decode('utf-8')."
            )
        return self._encode(list(text), allowed)

    def _allowed(self, allowed_special: Literal["all"] | Collection[str]) -> list[str]:
        """Returns the special tokens to look for."""
        if allowed_special == "all":
            return list(self._special_tokens)
        # A bare string would be read as its letters.
        names = [allowed_special] if isinstance(allowed_special, str) else list(allowed_special)
        unknown = [name for name in names if name not in self._special_tokens]
        if unknown or isinstance(allowed_special, str):
            raise ValueError(
                "`allowed_special` must be 'all' or a collection of special tokens. "
                f"Received: allowed_special={allowed_special!r}. "
                f"The special tokens are {list(self._special_tokens)}."
            )
        return names

    def _encode(self, texts: list[str], allowed: list[str]) -> list[list[int]]:
        """Encodes texts, taking the allowed special tokens out of them first."""
        texts = [_without_surrogates(text) for text in texts]
        if not allowed:
            return self._encode_plain(texts)
        # The longest first, so that no special token hides another that it begins.
        names = sorted(allowed, key=len, reverse=True)
        pattern = re.compile("(" + "|".join(map(re.escape, names)) + ")")
        return [self._encode_parts(pattern.split(text)) for text in texts]

    def _encode_parts(self, parts: list[str]) -> list[int]:
        """Encodes plain text and special tokens that alternate."""
        plain = self._encode_plain(parts[::2])
        ids = plain[0]
        for name, following in zip(parts[1::2], plain[1:], strict=True):
            ids.append(self._special_tokens[name])
            ids.extend(following)
        return ids

    def _encode_plain(self, texts: list[str]) -> list[list[int]]:
        encodings = self._bpe.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    @overload
    def decode(self, ids: Sequence[int]) -> str: ...

    @overload
    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]: ...

    def decode(self, ids: Any) -> str | list[str]:
        """Turns token ids into text.

        Args:
            ids: Token ids, or several lists of them: Python lists, arrays or
                tensors. Special tokens give their text.

        Returns:
            The text, or a list of texts. Bytes that are not UTF-8 become
            U+FFFD: a token may hold a part of a character.

        Raises:
            TypeError: If an id is not an integer.
            ValueError: If an id is not in the vocabulary.
        """
        raw = self.decode_bytes(ids)
        if isinstance(raw, bytes):
            return raw.decode("utf-8", errors="replace")
        return [row.decode("utf-8", errors="replace") for row in raw]

    @overload
    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...

    @overload
    def decode_bytes(self, ids: Sequence[Sequence[int]]) -> list[bytes]: ...

    def decode_bytes(self, ids: Any) -> bytes | list[bytes]:
        """Turns token ids into their bytes, which need not be UTF-8.

        Args:
            ids: As for `decode`.

        Raises:
            TypeError: If an id is not an integer.
            ValueError: If an id is not in the vocabulary.
        """
        rows = _as_list(ids)
        if rows and all(_is_row(row) for row in rows):
            return [self._join(_as_list(row)) for row in rows]
        return self._join(rows)

    def _join(self, ids: Sequence[Any]) -> bytes:
        """Joins the bytes of ids."""
        pieces = []
        for token_id in ids:
            try:
                index = operator.index(token_id)
            except TypeError:
                raise TypeError(
                    "A token id is an integer. "
                    f"Received: {token_id!r} of type {type(token_id).__name__}. "
                    "Use the ids that `encode` makes."
                ) from None
            if not 0 <= index < self.vocab_size:
                raise ValueError(
                    "A token id is at least 0 and below the vocabulary size. "
                    f"Received: id={index}, vocab_size={self.vocab_size}. "
                    "Use the tokenizer that made the ids."
                )
            pieces.append(self._token_bytes[index])
        return b"".join(pieces)

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        model_max_length: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Writes the tokenizer in the files that Hugging Face's tools read.

        They are `vocab.json`, `merges.txt`, `tokenizer.json` and
        `tokenizer_config.json`.

        Args:
            directory: Folder to write into; made if it is not there.
            model_max_length: The context length of the model, if known.
            overwrite: Whether files of the same names and another content may
                be replaced.

        Raises:
            FileExistsError: If such files are there and may not be replaced.
        """
        config: dict[str, Any] = {
            "add_prefix_space": False,
            "bos_token": END_OF_TEXT,
            # Older transformers join words and punctuation again unless told not to.
            "clean_up_tokenization_spaces": False,
            "eos_token": END_OF_TEXT,
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": END_OF_TEXT,
        }
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        by_id = {token: token_id for token_id, token in enumerate(self._vocabulary.tokens)}
        contents = {
            "vocab.json": json.dumps(by_id, ensure_ascii=False) + "\n",
            "merges.txt": merges_text(self._vocabulary.merges),
            "tokenizer.json": self._tokenizer_json(),
            "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True) + "\n",
        }
        write_files(directory, contents, overwrite=overwrite)

    def _tokenizer_json(self) -> str:
        """Returns the text of `tokenizer.json`, in which the special tokens are known."""
        bpe = _byte_level_bpe(self._vocabulary)
        bpe.add_special_tokens(
            [
                tokenizers.AddedToken(token, normalized=False, special=True)
                for token in self._special_tokens
            ]
        )
        return bpe.to_str(pretty=True) + "\n"

    def __len__(self) -> int:
        return self.vocab_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GPT2Tokenizer):
            return NotImplemented
        return self._vocabulary == other._vocabulary

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"GPT2Tokenizer(vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[type[Self], tuple[Vocabulary]]:
        return type(self), (self._vocabulary,)


def _byte_level_bpe(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """Returns the `tokenizers` pipeline of a vocabulary, without its special tokens."""
    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocabulary.ids, merges=vocabulary.merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


def _without_surrogates(text: str) -> str:
    """Returns text that UTF-8 can spell."""
    if not isinstance(text, str):
        raise TypeError(
            "A text must be a string. "
            f"Received: {type(text).__name__}. Decode bytes first: raw.decode('utf-8')."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # openai/tiktoken `tiktoken/core.py`, Encoding.encode
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Passes texts on; refuses to end without a character."""
    is_empty = True
    for text in texts:
        is_empty = is_empty and not text
        yield _without_surrogates(text)
    if is_empty:
        raise ValueError(
            "A vocabulary is learned from text. Received: texts without a character. "
            "Check that the files of the corpus are the right ones."
        )


def _as_list(ids: Any) -> list[Any]:
    """Returns ids of any container as a list."""
    if hasattr(ids, "numpy"):  # a tensor
        ids = ids.numpy()
    if hasattr(ids, "tolist"):  # an array
        ids = ids.tolist()
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(
            "`ids` must be a sequence of token ids, or several. "
            f"Received: {ids!r} of type {type(ids).__name__}. Use [{ids!r}] for one id."
        )
    return list(ids)


def _is_row(item: object) -> bool:
    """Tells a list of ids from an id; NumPy's integers have a `tolist` but no length."""
    return hasattr(item, "__len__") and getattr(item, "ndim", 1) > 0
