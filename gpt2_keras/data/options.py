"""The options of preparing a corpus."""

import dataclasses
from typing import Any

from gpt2_keras.data.corpus_files import check_input_format
from gpt2_keras.data.shuffling import LARGEST_SEED
from gpt2_keras.validation import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_probability,
    check_text,
    check_texts,
)

DEFAULT_SHARD_TOKENS = 100_000_000
DEDUPLICATION = ("exact", "near")


@dataclasses.dataclass(frozen=True)
class PreparationOptions:
    """How `prepare` turns documents into token shards.

    By default no text is changed, and no document is left out but an empty one.

    Args:
        shard_tokens: Number of tokens in a shard file, at least 1.
        end_of_text: Whether the id of `<|endoftext|>` ends every document.
        input_format: `"text"`, `"jsonl"`, `"csv"` or `"parquet"`; by default told
            by the endings of the files' names.
        text_field: The field of a row that has its text. By default `text`; of
            CSV the first column.
        clean: Whether line ends become `\\n` (CR LF, CR, vertical tab, form feed,
            U+0085, U+2028, U+2029) and the other control characters, except for
            tabs, are removed.
        nfc: Whether characters are composed: Unicode's normal form C.
        min_characters: Documents with fewer are left out.
        deduplicate: `"exact"` leaves out documents with the text of an earlier one;
            `"near"` also those with nearly the text of an earlier one: see
            `near_fingerprints`.
        validation_fraction: Fraction of the documents to validate on, above 0 and
            below 1. Which ones is decided by the hash of the text alone: a
            document is on the same side whatever else is in the corpus.
        bpe_dropout: Probability of leaving out a merge, 0 to 1: see `BPEDropout`.
        seed: Seed of the dropout, 0 to 2³¹ - 1.
        special_tokens: The special tokens in the documents that become their ids, see
            `GPT2Tokenizer.with_special_tokens_policy`; by default the tokenizer's policy.

    Raises:
        TypeError: If a value is of a wrong type.
        ValueError: If a value is out of its range.

    Example:
        >>> PreparationOptions(deduplicate="exact", validation_fraction=0.01).min_characters
        0
    """

    shard_tokens: int = DEFAULT_SHARD_TOKENS
    end_of_text: bool = True
    input_format: str | None = None
    text_field: str | None = None
    clean: bool = False
    nfc: bool = False
    min_characters: int = 0
    deduplicate: str | None = None
    validation_fraction: float | None = None
    bpe_dropout: float = 0.0
    seed: int = 0
    special_tokens: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_integer("shard_tokens", self.shard_tokens, minimum=1)
        check_integer("min_characters", self.min_characters, minimum=0)
        check_integer("seed", self.seed, minimum=0, maximum=LARGEST_SEED)
        check_probability("bpe_dropout", self.bpe_dropout)
        for name in ("end_of_text", "clean", "nfc"):
            check_flag(name, getattr(self, name))
        check_input_format(self.input_format)
        if self.special_tokens is not None and not isinstance(self.special_tokens, str):
            names = tuple(check_texts("special_tokens", self.special_tokens))
            object.__setattr__(self, "special_tokens", names)
        if self.text_field is not None:
            check_text("text_field", self.text_field)
        if self.deduplicate is not None:
            advice = "Leave it out to keep every document."
            check_choice("deduplicate", self.deduplicate, DEDUPLICATION, advice=advice)
        if self.validation_fraction is not None:
            check_number("validation_fraction", self.validation_fraction, above=0, below=1)

    @property
    def needs_digest(self) -> bool:
        """Whether the hash of a text decides anything."""
        return bool(self.deduplicate or self.validation_fraction or self.bpe_dropout)

    def to_json(self) -> dict[str, Any]:
        """Returns the `options` of `index.json`: those without an entry of their own there."""
        others = {"shard_tokens", "end_of_text", "validation_fraction"}
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name not in others
        }
