"""What a checkpoint says of generation: its end tokens and its sampling defaults."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpt2_keras.validation import MAX_INT32, check_flag, check_instance, check_integer

FILE_NAME = "generation_config.json"
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")  # also keys of config.json
# top_k of transformers' GenerationConfig where the file has none: generation/configuration_utils.py
DEFAULT_TOP_K = 50
_PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")
_FOR_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
# The integers among the keys that generation follows, with their minima.
_COUNTS = {"max_new_tokens": 1, "num_beams": 1, "min_new_tokens": 0, "top_k": 0,
           "no_repeat_ngram_size": 0}  # fmt: skip
# The other keys that generation follows, and those that change nothing.
_FOLLOWED = ("do_sample", "max_new_tokens", "min_new_tokens", "num_beams", "length_penalty",
             "bad_words_ids", "suppress_tokens")  # fmt: skip
_WITHOUT_EFFECT = ("transformers_version", "trust_remote_code", "use_cache", "cache_implementation",
                   "output_attentions", "output_hidden_states", "output_scores", "output_logits",
                   "return_dict_in_generate", "early_stopping")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """The `generation_config.json` of a model, kept whole and followed by `generate`.

    What a call of `generate` names comes first. Of the rest: rows end at `eos_token_id`, one or
    several; `do_sample` with `temperature`, `top_k`, `top_p`, `min_p` and `typical_p`, or
    `num_beams` with `length_penalty`, choose the sampler; `repetition_penalty`,
    `no_repeat_ngram_size`, `bad_words_ids`, `suppress_tokens`, `max_new_tokens` and
    `min_new_tokens` mean what they mean in transformers.

    Args:
        contents: The object in `generation_config.json`.
        token_ids: The `bos_token_id`, `eos_token_id` and `pad_token_id` of `config.json`.
        source: Where they are from, for error messages.

    Raises:
        TypeError: If a token id or a number of tokens is no integer, or `do_sample` no bool.
        ValueError: If one is negative.

    Example:
        >>> GenerationConfig({"eos_token_id": [0, 2], "do_sample": True}).end_token_ids
        (0, 2)
    """

    contents: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    token_ids: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source: str = dataclasses.field(default=FILE_NAME, compare=False)

    def __post_init__(self) -> None:
        for contents in (self.contents, self.token_ids):
            for token_id in _as_list(contents.get("eos_token_id")):
                self._check("eos_token_id", token_id)
        for name, minimum in _COUNTS.items():
            if (value := self.contents.get(name)) is not None:
                self._check(name, value, minimum)
        for token_id in self._list("suppress_tokens"):
            self._check("suppress_tokens", token_id)
        for index, word in enumerate(self._list("bad_words_ids")):
            check_instance(f"bad_words_ids[{index}] of {self.source}", word, list, "a list of ids")
            for token_id in word:
                self._check(f"bad_words_ids[{index}]", token_id)
        if (value := self.contents.get("do_sample")) is not None:
            check_flag(f"do_sample of {self.source}", value)

    def _check(self, name: str, value: Any, minimum: int = 0) -> None:
        check_integer(f"{name} of {self.source}", value, minimum=minimum, maximum=MAX_INT32)

    def _list(self, name: str) -> list[Any]:
        value = self.contents.get(name) or []
        check_instance(f"{name} of {self.source}", value, list, "a list")
        return list(value)

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The ids that end a text, in the order of the file; none if neither file names one."""
        found = self.contents.get("eos_token_id")
        found = self.token_ids.get("eos_token_id") if found is None else found
        return tuple(dict.fromkeys(_as_list(found)))

    @property
    def samples(self) -> bool:
        """Whether tokens are sampled unless a call says otherwise."""
        return bool(self.contents.get("do_sample"))

    @property
    def penalties(self) -> dict[str, Any]:
        """The fields of `Sampler` that count for every choice of tokens."""
        return self._given(_PENALTIES)

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of `Sampler` that count if tokens are sampled."""
        return {"top_k": DEFAULT_TOP_K, **self._given(_FOR_SAMPLING)} if self.samples else {}

    @property
    def followed(self) -> dict[str, Any]:
        """What the file says that changes the text of a call, its token ids left out."""
        return self._given((*_PENALTIES, *_FOR_SAMPLING, *_FOLLOWED))

    @property
    def not_followed(self) -> dict[str, Any]:
        """What the file asks for and generation does not do."""
        known = {*TOKEN_IDS, *_PENALTIES, *_FOR_SAMPLING, *_FOLLOWED, *_WITHOUT_EFFECT}
        return {
            name: value
            for name, value in self.contents.items()
            # What is false, 0, 1 or empty is transformers' default of a key, without effect.
            if name not in known and not name.startswith("_") and value and value != 1
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a plain dictionary; empty if nothing is set."""
        fields = {"contents": dict(self.contents), "token_ids": dict(self.token_ids)}
        return {name: value for name, value in fields.items() if value}

    def _given(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.contents[name] for name in names if self.contents.get(name) is not None}


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
