"""What a corpus is prepared like."""

import dataclasses
from typing import Any

from gpt2_keras.data.files import format_of
from gpt2_keras.data.shuffling import LARGEST_SEED

DEFAULT_SHARD_TOKENS = 100_000_000
DEDUPLICATION = ("exact", "near")


@dataclasses.dataclass(frozen=True)
class PreparationOptions:
    """How `prepare` turns documents into token shards.

    Nothing of a text is changed and no document left out unless asked for.

    Args:
        shard_tokens: Number of tokens a shard file holds, at least 1.
        end_of_text: Whether the id of `<|endoftext|>` ends every document.
        input_format: `"text"`, `"jsonl"`, `"csv"` or `"parquet"`; by default told
            by the endings of the files' names.
        text_field: The field of a row that has its text. By default `text`; of
            CSV the first column.
        clean: Whether line ends become `\\n` (CR LF, CR, vertical tab, form feed,
            U+0085, U+2028, U+2029) and the other control characters, except for
            tabs, are left out.
        nfc: Whether characters are composed: Unicode's normal form C.
        min_characters: Documents with fewer are left out.
        deduplicate: `"exact"` leaves out documents whose text came before;
            `"near"` also those that are nearly one that came before: see
            `near_fingerprints`.
        validation_fraction: Share of the documents to validate on, above 0 and
            below 1. Which ones is decided by the hash of the text alone: a
            document is on the same side whatever else is in the corpus.
        bpe_dropout: Probability of leaving out a merge, 0 to 1: see `BPEDropout`.
        seed: Of the dropout, 0 to 2³¹ - 1.

    Raises:
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

    def __post_init__(self) -> None:
        if self.input_format is not None:
            format_of("", self.input_format)
        if self.deduplicate is not None and self.deduplicate not in DEDUPLICATION:
            raise ValueError(
                f"`deduplicate` must be one of {', '.join(DEDUPLICATION)}. "
                f"Received: deduplicate={self.deduplicate!r}. Leave it out to keep every document."
            )
        if self.validation_fraction is not None and not 0 < self.validation_fraction < 1:
            raise ValueError(
                "`validation_fraction` must be above 0 and below 1. "
                f"Received: validation_fraction={self.validation_fraction}. Use, for example, 0.01."
            )
        self._check_range("shard_tokens", 1, None, DEFAULT_SHARD_TOKENS)
        self._check_range("min_characters", 0, None, 200)
        self._check_range("bpe_dropout", 0, 1, 0.1)
        self._check_range("seed", 0, LARGEST_SEED, 0)

    def _check_range(self, name: str, minimum: int, maximum: int | None, example: float) -> None:
        value = getattr(self, name)
        if not (value >= minimum and (maximum is None or value <= maximum)):
            upper = "" if maximum is None else f" and at most {maximum}"
            raise ValueError(
                f"`{name}` must be at least {minimum}{upper}. "
                f"Received: {name}={value}. Use, for example, {example}."
            )

    @property
    def needs_digest(self) -> bool:
        """Whether the hash of a text decides anything."""
        return bool(self.deduplicate or self.validation_fraction or self.bpe_dropout)

    def to_json(self) -> dict[str, Any]:
        """Returns what `index.json` says of the options: those that change the tokens."""
        places = {"shard_tokens", "end_of_text", "validation_fraction"}
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name not in places
        }
