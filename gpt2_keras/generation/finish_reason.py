"""Why a text ended."""

from typing import Literal, get_args

# "end": `<|endoftext|>` or another stop id was sampled; "length": it had all the tokens it may
# have; "context": the context is full; "stop": it met a stop string. LiteRT files say the index.
FinishReason = Literal["end", "length", "context", "stop"]
FINISH_REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
