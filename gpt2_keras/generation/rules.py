"""What a text must, may not and cannot contain, as values."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from gpt2_keras.generation.constraints import Constraints, make_constraints
from gpt2_keras.model import GPT2LM


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules for the new text, the same for every row.

    Args:
        min_new_tokens: How many tokens come before a text may end by itself.
        stop: String or strings at which a text ends, in bytes, wherever tokens
            begin; they are left out.
        stop_ids: Token ids that end a text, as `<|endoftext|>` always does; they
            are left out.
        logit_bias: Numbers to add to the logits of token ids; `-math.inf`
            forbids an id.
        bad_words: Strings whose tokens must not come in a row.
        begin_with: What the new text begins with.

    Raises:
        ValueError: If a string is empty, a number negative or NaN.

    Example:
        >>> Rules(stop="END").stop
        ('END',)
    """

    min_new_tokens: int = 0
    stop: str | Sequence[str] = ()
    stop_ids: Sequence[int] = ()
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    bad_words: Sequence[str] = ()
    begin_with: str = ""

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for name in ("stop", "bad_words"):
            strings = getattr(self, name)
            if isinstance(strings, str) or not all(strings):
                raise ValueError(
                    f"`{name}` must be strings, none of them empty. "
                    f"Received: {name}={strings!r}. Leave it out for none."
                )
        if self.min_new_tokens < 0:
            raise ValueError(
                "`min_new_tokens` must be at least 0. "
                f"Received: min_new_tokens={self.min_new_tokens}. 0 lets a text end at once."
            )
        for token_id, value in self.logit_bias.items():
            if math.isnan(value) or value == math.inf:
                raise ValueError(
                    "A logit bias must be a number below infinity. "
                    f"Received: logit_bias={{{token_id}: {value}}}. -math.inf forbids an id."
                )

    def to_constraints(self, model: GPT2LM) -> Constraints:
        """Returns the rules as the decoding loop takes them.

        Args:
            model: A model with a tokenizer.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        tokenizer = model.require_tokenizer()
        model.check_token_ids(np.array([*self.stop_ids, *self.logit_bias], "int64"))
        # A word may begin a text, or follow a space that belongs to its first token.
        words = [tokenizer.encode(form) for word in self.bad_words for form in (word, " " + word)]
        return make_constraints(
            model.config.vocab_size,
            tokenizer.end_token_id,
            logit_bias=self.logit_bias,
            bad_words=words,
            forced_ids=tokenizer.encode(self.begin_with),
            stop_ids=self.stop_ids,
            min_new_tokens=self.min_new_tokens,
        )
