"""The vocabulary of a byte-level BPE: token ids, merges and special tokens, checked."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Self

from gpt2_keras.tokenizer.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE
from gpt2_keras.validation import check_text

END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary whose parts are checked to fit together.

    Args:
        ids: The id of each token, spelled in the byte alphabet (special tokens
            in plain text): 0, 1, 2, … without a gap.
        merges: The pairs of tokens to merge, the first one first.
        special_tokens: The tokens that no merge makes, the end token among them.
        end_token: The special token that ends a document.
        where: The name of the vocabulary in an error, for example its files.

    Raises:
        TypeError: If a token is not a string or an id not an integer.
        ValueError: If ids have gaps, a byte or the end token is missing, a
            merge has a part or a result without an id, or a token is made by
            no merge.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    special_tokens: tuple[str, ...] = (END_OF_TEXT,)
    end_token: str = END_OF_TEXT
    where: dataclasses.InitVar[str] = "the vocabulary"

    def __post_init__(self, where: str) -> None:
        _check_ids(self.ids, where)
        _check_special_tokens(self.ids, self.special_tokens, self.end_token, where)
        _check_bytes(self.ids, where)
        _check_merges(self.ids, self.merges, self.special_tokens, where)
        _check_origins(self.ids, self.merges, self.special_tokens, where)

    @property
    def tokens(self) -> list[str]:
        """The tokens in the order of their ids."""
        return sorted(self.ids, key=self.ids.__getitem__)

    def with_special_tokens(self, tokens: Sequence[str]) -> Self:
        """Returns a vocabulary with more special tokens; see `GPT2Tokenizer`."""
        if isinstance(tokens, str):
            raise TypeError(f"tokens={tokens!r} is a str. Use a list of str: [{tokens!r}].")
        ids = dict(self.ids)
        for index, token in enumerate(tokens):
            check_text(f"tokens[{index}]", token)
            if not token or token in ids:
                problem = "is a token already" if token else "is empty"
                raise ValueError(
                    f"tokens[{index}]={token!r} {problem}. "
                    "Use new texts, each once, for example '<|user|>'."
                )
            ids[token] = len(ids)
        return type(self)(ids, self.merges, (*self.special_tokens, *tokens), self.end_token)


def without_special_tokens(vocabulary: Vocabulary, tokens: Collection[str]) -> Vocabulary:
    """Returns a vocabulary without special tokens, whose ids must be the last ones."""
    ids = {token: token_id for token, token_id in vocabulary.ids.items() if token not in tokens}
    special = tuple(token for token in vocabulary.special_tokens if token not in tokens)
    return Vocabulary(ids, vocabulary.merges, special, vocabulary.end_token)


def check_id_types(ids: Mapping[str, int], where: str) -> None:
    """Raises a TypeError unless strings are mapped to integers; `where` names them there."""
    for token, token_id in ids.items():
        if not isinstance(token, str) or type(token_id) is not int:
            raise TypeError(
                f"{where} maps {token!r} to {token_id!r}. "
                "Map strings to integers, for example {'!': 0, …}."
            )


def _check_ids(ids: Mapping[str, int], where: str) -> None:
    """Raises an error unless the tokens are numbered 0, 1, 2, …"""
    check_id_types(ids, where)
    by_id = sorted((token_id, token) for token, token_id in ids.items())
    for expected, (token_id, token) in enumerate(by_id):
        if token_id != expected:
            raise ValueError(
                f"{where} has id {token_id}, of {token!r}, where {expected} should come next. "
                "The ids of a vocabulary are 0, 1, 2, … without a gap or a repetition. "
                "The file is damaged or incomplete: fetch it again."
            )


def _check_special_tokens(
    ids: Mapping[str, int], special: Collection[str], end_token: str, where: str
) -> None:
    """Raises an error unless the end token and each special token are there."""
    for token in (end_token, *special):
        if token not in ids or token not in special:
            raise ValueError(
                f"{where} has no special token {token!r} among its {len(ids)} tokens, of which "
                f"{sorted(special)} are special. If another token ends a document, name it as "
                f'"eos_token" in a tokenizer_config.json beside the vocabulary; or add {token!r} '
                f"with id {len(ids)}."
            )


def _check_bytes(ids: Mapping[str, int], where: str) -> None:
    """Raises an error unless every text can be spelled."""
    missing = [byte for byte, character in BYTE_TO_CHARACTER.items() if character not in ids]
    if missing:
        raise ValueError(
            f"{where} has no token for {len(missing)} of the 256 bytes, the first of them "
            f"0x{missing[0]:02x}, spelled {BYTE_TO_CHARACTER[missing[0]]!r}. "
            "Use a byte-level vocabulary like GPT-2's."
        )


def _check_merges(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Collection[str],
    where: str,
) -> None:
    """Raises an error for a merge of or into what is no token, and for one given twice."""
    seen = set()
    for rank, (left, right) in enumerate(merges):
        for token in (left, right, left + right):
            if token not in ids or token in special:
                problem = "is special" if token in special else "has no id"
                raise ValueError(
                    f"Merge {rank} of {where} is {left!r} + {right!r}, but {token!r} {problem}. "
                    "A merge joins two ordinary tokens into a third. "
                    "Use the two files of one tokenizer."
                )
        if (left, right) in seen:
            raise ValueError(
                f"Merge {rank} of {where}, {left!r} + {right!r}, is given twice. "
                "The file is damaged: fetch it again."
            )
        seen.add((left, right))


def _check_origins(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Collection[str],
    where: str,
) -> None:
    """Raises an error for a token that nothing makes: the sign of a truncated list of merges."""
    made = {left + right for left, right in merges}.union(CHARACTER_TO_BYTE, special)
    orphans = sorted((ids[token], token) for token in ids if token not in made)
    if orphans:
        token_id, token = orphans[0]
        raise ValueError(
            f"{len(orphans)} tokens of {where} are made by none of its {len(merges)} merges, the "
            f"first of them {token!r} (id {token_id}). Each token is a byte, the result of a merge "
            "or a special token. If the file of the merges is incomplete, fetch it again; if the "
            "token is special, name it in an added_tokens.json beside them."
        )
