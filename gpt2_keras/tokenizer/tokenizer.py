"""GPT-2's tokenizer on the host: text to token ids and back, without TensorFlow."""

import copy
import functools
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any, Self, overload

from gpt2_keras.tokenizer.byte_alphabet import unspell
from gpt2_keras.tokenizer.encoding import Encoder, join_bytes
from gpt2_keras.tokenizer.files import read_vocabulary, write_files
from gpt2_keras.tokenizer.huggingface import byte_level_bpe, file_contents
from gpt2_keras.tokenizer.settings import POLICY_KEY, WORDS_KEY, read_settings
from gpt2_keras.tokenizer.special_tokens import SpecialTokens, check_allowed_special
from gpt2_keras.tokenizer.trainer import learn_vocabulary
from gpt2_keras.tokenizer.trimming import trimmed
from gpt2_keras.tokenizer.vocabulary import Vocabulary, without_special_tokens
from gpt2_keras.validation import check_instance, check_integer, check_text, check_texts


class GPT2Tokenizer:
    """Turns text into the token ids of a byte-level BPE, GPT-2's, and back.

    GPT-2's pattern splits text into pre-tokens. Each is spelled as UTF-8 bytes,
    of which neighbours are merged, the earliest merge first, until none is
    left. Every text has ids, and decoding them gives the same text.

    A tokenizer is immutable. It is made by `from_directory` or `train`, or
    from a vocabulary that is already in memory.

    Args:
        vocabulary: Token ids, merges and special tokens, checked.
        special_tokens_policy: See `with_special_tokens_policy`.
        settings: What else its `tokenizer_config.json` has, as `read_settings` reads it.

    Raises:
        TypeError: If `vocabulary` is no `Vocabulary`.
        ValueError: If the policy names what is no special token.

    Source: openai/gpt-2 `src/encoder.py`. The pattern is that of `tokenizers`'
    `ByteLevel`, the same as OpenAI's.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["low lower lowest"], vocab_size=300)
        >>> tokenizer.decode(tokenizer.encode("slow 🐢"))
        'slow 🐢'
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        special_tokens_policy: SpecialTokens = "added",
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        check_instance("vocabulary", vocabulary, Vocabulary, "a Vocabulary")
        self._vocabulary, self._settings = vocabulary, dict(settings)
        ids, special = vocabulary.ids, vocabulary.special_tokens
        self._words = tuple(token for token in settings.get(WORDS_KEY, ()) if token in special)
        self._special_tokens = {token: ids[token] for token in special}
        self._token_bytes = [
            token.encode() if token in self._special_tokens else unspell(token)
            for token in vocabulary.tokens
        ]
        self._encoder = Encoder(byte_level_bpe(vocabulary), self._special_tokens)
        self._set_policy(special_tokens_policy)

    def _set_policy(self, policy: SpecialTokens) -> None:
        self._allowed_special = self._check_allowed(policy, "special_tokens")
        self._policy = policy if isinstance(policy, str) else list(policy)

    def _check_allowed(self, policy: SpecialTokens, name: str) -> tuple[str, ...]:
        end_token = self._vocabulary.end_token
        allowed = check_allowed_special(policy, self._special_tokens, end_token, name)
        return tuple(dict.fromkeys((*allowed, *self._words)))

    @classmethod
    def from_directory(cls, path: str | os.PathLike[str]) -> Self:
        """Loads the tokenizer of a directory.

        Args:
            path: Folder with `vocab.json` and `merges.txt`, or `encoder.json`
                and `vocab.bpe`, or `tokenizer.json`; the first of these that is
                there is read.

        Raises:
            TypeError: If `path` is no path.
            FileNotFoundError: If the directory or the files are not there.
            ValueError: If a file is damaged, or two do not fit together.
        """
        vocabulary, settings = read_vocabulary(path), read_settings(path)
        # `split_special_tokens` is transformers' name of the policy "none".
        policy = "none" if settings.pop("split_special_tokens", False) else "added"
        return cls(vocabulary, settings.pop(POLICY_KEY, policy), settings)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, show_progress: bool = False) -> Self:
        """Learns a vocabulary from text.

        Ids 0 to 255 are the bytes in OpenAI's order, then come the merges, the
        first one first, and `<|endoftext|>` is last. The same texts give the
        same vocabulary. Special tokens in the texts are plain text.

        Args:
            texts: Documents or chunks of them, read once. No merge is learned
                across the end of a chunk.
            vocab_size: Number of tokens to learn, bytes and `<|endoftext|>`
                included, at least 257. Where the texts have fewer pairs that
                occur twice, the vocabulary is smaller: see the property
                `vocab_size`.
            show_progress: Whether to show a progress bar on stderr.

        Raises:
            TypeError: If `texts` is one string, or has something else than
                strings, or `vocab_size` is not an integer.
            ValueError: If `vocab_size` is too small or the texts are empty.
        """
        return cls(learn_vocabulary(texts, vocab_size, show_progress=show_progress))

    def with_special_tokens(self, tokens: Sequence[str]) -> Self:
        """Returns a tokenizer with more special tokens, which get the ids that come next.

        Args:
            tokens: Texts such as `"<|user|>"`, none of them a token already.

        Raises:
            TypeError: If `tokens` is one string, or has something else than strings.
            ValueError: If one is a token already, is empty or is given twice.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
            >>> tokenizer.with_special_tokens(["<|user|>"]).special_tokens
            {'<|endoftext|>': 256, '<|user|>': 257}
        """
        vocabulary = self._vocabulary.with_special_tokens(tokens)
        return type(self)(vocabulary, self._policy, self._settings)

    def without_special_tokens(self, tokens: Collection[str]) -> Self:
        """Returns a tokenizer without special tokens, whose ids must be the last ones.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
            >>> more = tokenizer.with_special_tokens(["<|user|>"])
            >>> more.without_special_tokens(["<|user|>"]) == tokenizer
            True
        """
        vocabulary, policy = without_special_tokens(self._vocabulary, tokens), self._policy
        if not isinstance(policy, str):
            policy = [token for token in policy if token not in tokens]
        return type(self)(vocabulary, policy, self._settings)

    def trimmed(self, token_ids: Collection[int]) -> tuple[Self, list[int]]:
        """Returns a tokenizer of some of the tokens, and the old id of each of its ids.

        A text whose tokens are all kept has the same ones, of other ids; another one has more.

        Args:
            token_ids: The tokens to keep. Also kept are the 256 bytes, the special tokens, and
                the tokens that the merges of a token pass through.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["the cat, the dog"], vocab_size=262)
            >>> smaller, old_ids = tokenizer.trimmed(tokenizer.encode("the dog"))
            >>> [old_ids[each] for each in smaller.encode("the dog")] == tokenizer.encode("the dog")
            True
        """
        vocabulary, old_ids = trimmed(self._vocabulary, token_ids)
        return type(self)(vocabulary, self._policy, self._settings), old_ids

    def with_special_tokens_policy(self, policy: SpecialTokens | None) -> Self:
        """Returns a tokenizer with another answer to which special tokens a text may hold.

        Each text that is encoded follows it, by a model, in the data and in an export; `save`
        writes it into `tokenizer_config.json`.

        Args:
            policy: `"added"`, the default: every special token becomes its id but the end
                token, which in a text is text, as with OpenAI's encoder. `"none"`: all are
                text, right for texts from outside, which then cannot play another role in a
                dialogue. `"all"`; or a list of special tokens. None changes nothing. Added words
                that their file says are not special always become their id.

        Raises:
            TypeError: If the policy is neither a string nor a list.
            ValueError: If it names what is no special token.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
            >>> tokenizer = tokenizer.with_special_tokens(["<|user|>"])
            >>> tokenizer.encode("<|user|>a<|endoftext|>")[:2]
            [257, 64]
            >>> 257 in tokenizer.with_special_tokens_policy("none").encode("<|user|>")
            False
        """
        if policy is None:
            return self
        changed = copy.copy(self)
        changed._set_policy(policy)
        return changed

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self._token_bytes)

    @property
    def end_token_id(self) -> int:
        """The id of the special token that ends a document: `<|endoftext|>` in GPT-2's own."""
        return self._special_tokens[self._vocabulary.end_token]

    @property
    def allowed_special(self) -> tuple[str, ...]:
        """The special tokens whose text becomes their id; see `with_special_tokens_policy`."""
        return self._allowed_special

    @property
    def special_tokens_policy(self) -> str | list[str]:
        """The policy from which `allowed_special` follows."""
        return self._policy

    @property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens."""
        return dict(self._special_tokens)

    @property
    def added_words(self) -> tuple[str, ...]:
        """The special tokens that are ordinary words: `tokenizer.json` says they are not special.

        Their text always becomes their id.
        """
        return self._words

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
        """SHA-256 of tokens, merges and special tokens, in hexadecimal."""
        tokens, merges = self._vocabulary.tokens, self._vocabulary.merges
        content = json.dumps([tokens, merges, sorted(self._special_tokens)])
        return hashlib.sha256(content.encode()).hexdigest()

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
        self, text: str, *, allowed_special: SpecialTokens | None = None
    ) -> list[int]: ...

    @overload
    def encode(
        self, text: Sequence[str], *, allowed_special: SpecialTokens | None = None
    ) -> list[list[int]]: ...

    def encode(
        self,
        text: str | Sequence[str],
        *,
        allowed_special: SpecialTokens | None = None,
    ) -> list[int] | list[list[int]]:
        """Turns text into token ids.

        Args:
            text: A string, or several. Lone surrogates, which UTF-8 cannot
                encode, become U+FFFD, and pairs of them their character, as in
                tiktoken.
            allowed_special: The special tokens whose text becomes their id, as for
                `with_special_tokens_policy`. By default those of the policy: added
                tokens, but `<|endoftext|>` in a text is plain text, as with
                tiktoken's `encode_ordinary`.

        Returns:
            The ids of the string, or a list of them for each string.

        Raises:
            TypeError: If `text` is neither a string nor strings.
            ValueError: If `allowed_special` has what is no special token.

        Example:
            >>> tokenizer = GPT2Tokenizer.train(["ab"], vocab_size=257)
            >>> tokenizer.encode("a<|endoftext|>", allowed_special="all")
            [64, 256]
        """
        allowed = self._allowed_special
        if allowed_special is not None:
            allowed = self._check_allowed(allowed_special, "allowed_special")
        if isinstance(text, str):
            return self._encoder.encode([text], allowed)[0]
        is_empty = isinstance(text, Sized) and not isinstance(text, bytes) and len(text) == 0
        texts = [] if is_empty else check_texts("text", text)
        return self._encoder.encode(texts, allowed)

    def encode_pre_token(self, pre_token: str) -> list[int]:
        """Turns one pre-token into ids, several times as fast as `encode` does.

        Args:
            pre_token: Text that GPT-2's pattern does not split. Of other text
                the ids are wrong: merges would cross the bounds of pre-tokens.

        Returns:
            The ids.
        """
        return self._encoder.encode_pre_token(check_text("pre_token", pre_token))

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
            U+FFFD: a token may end within a character.

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

        Returns:
            The bytes, or a list of them for each list.

        Raises:
            TypeError: If an id is not an integer.
            ValueError: If an id is not in the vocabulary.
        """
        return join_bytes(ids, self._token_bytes)

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
            TypeError: If an argument has the wrong type.
            ValueError: If `model_max_length` is below 1.
            FileExistsError: If such files are there and may not be replaced.
        """
        settings = self._settings
        if model_max_length is not None:
            check_integer("model_max_length", model_max_length, minimum=1)
            settings = {**settings, "model_max_length": model_max_length}
        if self._policy != "added":
            is_none = {"split_special_tokens": True} if self._policy == "none" else {}
            settings = {**settings, POLICY_KEY: self._policy, **is_none}
        contents = file_contents(self._vocabulary, settings)
        write_files(directory, contents, overwrite=overwrite)

    def __len__(self) -> int:
        return self.vocab_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GPT2Tokenizer):
            return NotImplemented
        same_texts = self._allowed_special == other._allowed_special
        return same_texts and self._vocabulary == other._vocabulary

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"GPT2Tokenizer(vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self._vocabulary, self._policy, self._settings)
