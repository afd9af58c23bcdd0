"""The shapes and dtypes of what the compiled functions of a model take."""

import dataclasses
from typing import Any

from gpt2_keras.generation.decoding_loop import DecodingState
from gpt2_keras.generation.logits_processors import History, ProcessorTensors
from gpt2_keras.generation.sampler import SamplingTensors, dtype_of
from gpt2_keras.model import GPT2Model


@dataclasses.dataclass(frozen=True)
class Spec:
    """The shape and the dtype of a tensor; None is any size."""

    shape: tuple[int | None, ...]
    dtype: str
    name: str | None = None


IDS = Spec((None, None), "int32", "token_ids")
COUNTS = Spec((None,), "int32", "num_tokens")
INTEGER = Spec((), "int32")
NUMBER = Spec((), "float32")


def sampling_specs() -> SamplingTensors:
    """Returns the signature of the numbers of samplers."""
    return SamplingTensors(
        **{name: Spec((None,), dtype_of(name), name) for name in SamplingTensors._fields}
    )


def processor_specs() -> ProcessorTensors:
    """Returns the signature of logits processors."""
    ids = Spec((None,), "int32")
    return ProcessorTensors(
        logit_bias=Spec((None,), "float32"),
        bad_words=Spec((None, None), "int32"),
        forced_ids=ids,
        stop_ids=ids,
        min_new_tokens=INTEGER,
    )


def state_specs(model: GPT2Model) -> DecodingState:
    """Returns the signature of the state of the decoding loop."""
    part: Any = Spec(
        (None, model.config.num_heads, None, model.config.head_dim), model.compute_dtype
    )
    return DecodingState(
        cache=[(part, part)] * model.config.num_layers,
        padding_mask=Spec((None, None), "bool"),
        cache_index=INTEGER,
        history=History(IDS, INTEGER, INTEGER),
        last_ids=COUNTS,
        last_log_probs=Spec((None,), "float32"),
        finished=Spec((None,), "bool"),
    )
