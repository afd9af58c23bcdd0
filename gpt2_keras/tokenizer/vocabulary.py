"""The vocabulary of a byte-level BPE: token ids, merges and special tokens, checked."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from gpt2_keras.tokenizer.byte_alphabet import BYTE_TO_CHARACTER, CHARACTER_TO_BYTE

END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary whose parts are checked to fit together.

    Args:
        ids: The id of each token, spelled in the byte alphabet (special tokens
            in plain text): 0, 1, 2, … without a hole.
        merges: The pairs of tokens to merge, the first one first.
        special_tokens: The tokens that no text becomes by itself.
            `<|endoftext|>` is always one.
        where: What to call the vocabulary in an error, for example its files.

    Raises:
        TypeError: If a token is not a string or an id not an integer.
        ValueError: If ids have holes, a byte or `<|endoftext|>` is missing, a
            merge has a part or a result without an id, or a token is made by
            no merge.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    special_tokens: tuple[str, ...] = (END_OF_TEXT,)
    where: dataclasses.InitVar[str] = "the vocabulary"

    def __post_init__(self, where: str) -> None:
        _check_ids(self.ids, where)
        _check_special_tokens(self.ids, self.special_tokens, where)
        _check_bytes(self.ids, where)
        _check_merges(self.ids, self.merges, self.special_tokens, where)
        _check_origins(self.ids, self.merges, self.special_tokens, where)

    @property
    def tokens(self) -> list[str]:
        """The tokens in the order of their ids."""
        return sorted(self.ids, key=self.ids.__getitem__)


def _check_ids(ids: Mapping[str, int], where: str) -> None:
    """Refuses what does not number its tokens 0, 1, 2, …"""
    for token, token_id in ids.items():
        if not isinstance(token, str) or not isinstance(token_id, int):
            raise TypeError(
                f"A vocabulary maps strings to integers; {where} does not. "
                f"Received: {token!r}: {token_id!r}. Use for example {{'!': 0, ...}}."
            )
    by_id = sorted((token_id, token) for token, token_id in ids.items())
    for expected, (token_id, token) in enumerate(by_id):
        if token_id != expected:
            raise ValueError(
                f"The ids of a vocabulary are 0, 1, 2, … without a hole or a repetition, "
                f"but {where} has none that is {expected}. "
                f"Received: {token!r}: {token_id} in its place. "
                "The file is damaged or is not a whole vocabulary: fetch it again."
            )


def _check_special_tokens(ids: Mapping[str, int], special: Collection[str], where: str) -> None:
    """Refuses a vocabulary without an end-of-text token."""
    for token in sorted({END_OF_TEXT, *special}):
        if token not in ids or token not in special:
            raise ValueError(
                f"A vocabulary has an id for {token!r}, a special token; {where} has none. "
                f"Received: {len(ids)} tokens, special tokens {sorted(special)}. "
                f"Add {token!r} with id {len(ids)}, or use a GPT-2 vocabulary."
            )


def _check_bytes(ids: Mapping[str, int], where: str) -> None:
    """Refuses a vocabulary that cannot spell every text."""
    missing = [byte for byte, character in BYTE_TO_CHARACTER.items() if character not in ids]
    if missing:
        raise ValueError(
            f"A byte-level vocabulary has a token for each of the 256 bytes; {where} lacks "
            f"{len(missing)}. Received: none for byte 0x{missing[0]:02x}, spelled "
            f"{BYTE_TO_CHARACTER[missing[0]]!r}. Use a vocabulary of GPT-2's kind."
        )


def _check_merges(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Collection[str],
    where: str,
) -> None:
    """Refuses a merge of, or into, something that is no token, and one given twice."""
    seen = set()
    for rank, (left, right) in enumerate(merges):
        for token in (left, right, left + right):
            if token not in ids or token in special:
                raise ValueError(
                    "The parts and the result of a merge are tokens of the vocabulary, "
                    f"and not special ones. Received: merge {rank} of {where}, "
                    f"{left!r} + {right!r}, where {token!r} is none. "
                    "Use the two files of one tokenizer."
                )
        if (left, right) in seen:
            raise ValueError(
                f"Each merge is given once. Received: {left!r} + {right!r} again, as merge "
                f"{rank} of {where}. The file is damaged: fetch it again."
            )
        seen.add((left, right))


def _check_origins(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Collection[str],
    where: str,
) -> None:
    """Refuses a token that nothing can make: the sign of a list of merges cut short."""
    made = {left + right for left, right in merges}.union(CHARACTER_TO_BYTE, special)
    orphans = sorted((ids[token], token) for token in ids if token not in made)
    if orphans:
        token_id, token = orphans[0]
        raise ValueError(
            f"Each token is a byte, the result of a merge or a special token; {len(orphans)} of "
            f"{where} are none of these. Received: {token!r} (id {token_id}), with "
            f"{len(merges)} merges. If the merges were cut short, fetch them again; if the token "
            "is special, name it in an added_tokens.json beside them."
        )
